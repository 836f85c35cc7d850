;; Takes its time, without any passing: `test.tick(ms)` moves the deadlines. Values: "t" and a byte: that many milliseconds of work;
;; "L": loops for ever; "m" and a byte: that many pages of memory, never given back, unreachable when there are no more;
;; "U": unreachable. Its cursor is what `test.cursor(index, events)` makes of the truth.
(module
  (import "test" "tick" (func $tick (param i32)))
  (import "test" "cursor" (func $cursor (param i32 i32) (result i32)))
  (;include frame;)
  (func (export "penstock_v1_alloc") (param i32) (result i32) (call $bump (local.get 0)))
  (func (export "penstock_v1_cursor") (result i32) (i32.const 16))
  (func (export "penstock_v1_transform") (param $frame i32) (param i32) (result i64)
    (local $n i32) (local $first i32) (local $i i32)
    (local.set $n (call $begin (local.get $frame)))
    (block $done (loop $more
      (br_if $done (i32.eq (local.get $i) (local.get $n)))
      (i32.store (i32.const 16) (call $cursor (local.get $i) (local.get $n)))
      (call $event)
      (local.set $first (call $byte (i32.const 0)))
      (if (i32.eq (local.get $first) (i32.const 0x74)) (then (call $tick (call $byte (i32.const 1)))))
      (if (i32.eq (local.get $first) (i32.const 0x4c)) (then (loop $ever (call $tick (i32.const 20)) (br $ever))))
      (if (i32.eq (local.get $first) (i32.const 0x6d))
        (then (if (i32.eq (memory.grow (call $byte (i32.const 1))) (i32.const -1)) (then unreachable))))
      (if (i32.eq (local.get $first) (i32.const 0x55)) (then unreachable))
      (call $put (i32.const 0xc0))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $more)))
    (call $finish)))
