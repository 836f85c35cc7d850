;; Answers with what the first event's value says: "=" and a whole result frame, "@" and the packed address and length (u64,
;; little-endian), "!" and nothing: unreachable. Anything else keeps every event.
(module
  (;include frame;)
  (func (export "penstock_v1_alloc") (param i32) (result i32) (call $bump (local.get 0)))
  (func (export "penstock_v1_transform") (param $frame i32) (param i32) (result i64)
    (local $n i32) (local $first i32) (local $i i32)
    (local.set $n (call $begin (local.get $frame)))
    (block $done (loop $more
      (br_if $done (i32.eq (local.get $i) (local.get $n)))
      (call $event)
      (local.set $first (call $byte (i32.const 0)))
      (if (i32.eq (local.get $first) (i32.const 0x3d))
        (then (return (call $pack (i32.add (global.get $value) (i32.const 1)) (i32.sub (global.get $length) (i32.const 1))))))
      (if (i32.eq (local.get $first) (i32.const 0x40))
        (then (return (i64.load (i32.add (global.get $value) (i32.const 1))))))
      (if (i32.eq (local.get $first) (i32.const 0x21)) (then unreachable))
      (call $put (i32.const 0xc0))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $more)))
    (call $finish)))
