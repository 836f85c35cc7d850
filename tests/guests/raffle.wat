;; Each event's new value is 16 random bytes.
(module
  (import "penstock" "random" (func $random (param i32 i32) (result i32)))
  (;include frame;)
  (func (export "penstock_v1_alloc") (param i32) (result i32) (call $bump (local.get 0)))
  (func (export "penstock_v1_transform") (param $frame i32) (param i32) (result i64)
    (local $n i32)
    (local.set $n (call $begin (local.get $frame)))
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $n)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (call $event)
      (call $put (i32.const 0x92)) (call $put (i32.const 1)) (call $put (i32.const 0xc4)) (call $put (i32.const 16))
      (drop (call $random (global.get $out) (i32.const 16)))
      (global.set $out (i32.add (global.get $out) (i32.const 16)))
      (br $more)))
    (call $finish)))
