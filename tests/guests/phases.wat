;; Misbehaves in the phase, and the way, that the test chooses through `test.act(phase) -> action`.
;; Phases: 0 start, 1 _initialize, 2 configure, 3 alloc, 4 cursor, 5 transform.
;; Actions: 0 none, 1 loop for ever (time passes by `test.tick`), 2 unreachable, 3 answer 0 or refuse, 4 answer an address
;; outside memory, 5 overflow the stack, 6 fail("memory"), 7 grow memory until refused and then unreachable.
(module
  (import "penstock" "fail" (func $fail (param i32 i32 i32 i32)))
  (import "test" "act" (func $act (param i32) (result i32)))
  (import "test" "tick" (func $tick (param i32)))
  (;include frame;)
  (data (i32.const 32) "memory")
  (func $deep (param i32) (result i32) (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))

  ;; the action that is left to the caller: 0, 3 or 4
  (func $misbehave (param $phase i32) (result i32)
    (local $action i32)
    (local.set $action (call $act (local.get $phase)))
    (if (i32.eq (local.get $action) (i32.const 1)) (then (loop $ever (call $tick (i32.const 20)) (br $ever))))
    (if (i32.eq (local.get $action) (i32.const 2)) (then unreachable))
    (if (i32.eq (local.get $action) (i32.const 5)) (then (drop (call $deep (i32.const 0)))))
    (if (i32.eq (local.get $action) (i32.const 6))
      (then (call $fail (i32.const 32) (i32.const 6) (i32.const 0) (i32.const 0))))
    (if (i32.eq (local.get $action) (i32.const 7))
      (then (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable))
    (local.get $action))

  (func $starts (drop (call $misbehave (i32.const 0))))
  (start $starts)
  (func (export "_initialize") (drop (call $misbehave (i32.const 1))))
  (func (export "penstock_v1_configure") (param i32 i32) (result i32) (call $misbehave (i32.const 2)))

  (func (export "penstock_v1_alloc") (param $size i32) (result i32)
    (local $action i32)
    (local.set $action (call $misbehave (i32.const 3)))
    (if (i32.eq (local.get $action) (i32.const 3)) (then (return (i32.const 0))))
    (if (i32.eq (local.get $action) (i32.const 4)) (then (return (i32.const -16))))
    (call $bump (local.get $size)))

  (func (export "penstock_v1_cursor") (result i32)
    (if (i32.eq (call $misbehave (i32.const 4)) (i32.const 4)) (then (return (i32.const -2))))
    (i32.const 17))

  (func (export "penstock_v1_transform") (param $frame i32) (param i32) (result i64)
    (local $n i32)
    (local.set $n (call $begin (local.get $frame)))
    (drop (call $misbehave (i32.const 5)))
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $n)))
      (call $put (i32.const 0xc0))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br $more)))
    (call $finish)))
