;; Remembers: each event's new value is how many events this instance has seen before it, as one byte. "U": unreachable.
(module
  (;include frame;)
  (global $seen (mut i32) (i32.const 0))
  (func (export "penstock_v1_alloc") (param i32) (result i32) (call $bump (local.get 0)))
  (func (export "penstock_v1_transform") (param $frame i32) (param i32) (result i64)
    (local $n i32)
    (local.set $n (call $begin (local.get $frame)))
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $n)))
      (call $event)
      (if (i32.eq (call $byte (i32.const 0)) (i32.const 0x55)) (then unreachable))
      (call $put (i32.const 0x92)) (call $put (i32.const 1))
      (call $put (i32.const 0xc4)) (call $put (i32.const 1)) (call $put (global.get $seen))
      (global.set $seen (i32.add (global.get $seen) (i32.const 1)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br $more)))
    (call $finish)))
