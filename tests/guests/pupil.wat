;; A good guest that leaves every event as it is: it reads all widths, checks where a frame ends, keeps an honest cursor, gives its
;; memory back with each frame, says when there is none. Tests spoil one of its lines at a time.
(module
  (;include frame;)
  (func (export "penstock_v1_cursor") (result i32) (i32.const 16))
  (func (export "penstock_v1_configure") (param $at i32) (param $size i32) (result i32)
    (i32.const 0))
  (func (export "penstock_v1_alloc") (param $size i32) (result i32)
    (global.set $heap (i32.const 65536))
    (call $bump (local.get $size)))
  (func (export "penstock_v1_transform") (param $frame i32) (param $size i32) (result i64)
    (local $n i32) (local $i i32)
    (local.set $n (call $begin (local.get $frame)))
    ;; begun
    (block $done (loop $more
      (br_if $done (i32.eq (local.get $i) (local.get $n)))
      (i32.store (i32.const 16) (local.get $i))
      (call $event)
      ;; was read
      (call $put (i32.const 0xc0))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $more)))
    (if (i32.ne (global.get $at) (i32.add (local.get $frame) (local.get $size))) (then (unreachable)))
    (call $finish)))
