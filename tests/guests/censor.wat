;; For `encoding: event`: answers each change event with "secret" masked wherever it stands in it; a tombstone passes unchanged.
(module
  (;include frame;)
  (func (export "penstock_v1_alloc") (param i32) (result i32) (call $bump (local.get 0)))
  (func (export "penstock_v1_transform") (param $frame i32) (param $size i32) (result i64)
    (local $n i32)
    (drop (call $bump (local.get $size)))  ;; room for as much again, behind which the results begin
    (local.set $n (call $begin (local.get $frame)))
    (drop (call $bump (i32.shl (local.get $size) (i32.const 1))))
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $n)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (call $change)
      (br $more)))
    (call $finish))
  (func $change
    (local $p i32)
    (drop (call $array))
    (call $skip (i32.const 3))
    (local.set $p (global.get $at))
    (call $skip (i32.const 1))
    (if (i32.eq (i32.load8_u (local.get $p)) (i32.const 0xc0))
      (then (call $put (i32.const 0xc0)))
      (else
        (call $put (i32.const 0x92)) (call $put (i32.const 1))
        (block $done (loop $more
          (br_if $done (i32.ge_u (local.get $p) (global.get $at)))
          (if (i64.eq (i64.and (i64.load (local.get $p)) (i64.const 0xffffffffffff)) (i64.const 0x746572636573))
            (then
              (i32.store (local.get $p) (i32.const 0x2a2a2a2a))
              (i32.store16 (i32.add (local.get $p) (i32.const 4)) (i32.const 0x2a2a))))
          (call $put (i32.load8_u (local.get $p)))
          (local.set $p (i32.add (local.get $p) (i32.const 1)))
          (br $more)))))
    (call $skip (i32.const 1))))
