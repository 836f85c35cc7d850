;; Keeps every event of its first batch. Of a later one it drops the first, gives the second a new value, and rejects the third with a
;; code that is not UTF-8; the rest it keeps.
(module
  (;include frame;)
  (global $crossings (mut i32) (i32.const 0))
  (func (export "penstock_v1_alloc") (param i32) (result i32) (call $bump (local.get 0)))
  (func $three (param i32) (param i32) (param i32)
    (call $put (local.get 0)) (call $put (local.get 1)) (if (i32.ge_s (local.get 2) (i32.const 0)) (then (call $put (local.get 2)))))
  (func (export "penstock_v1_transform") (param $frame i32) (param i32) (result i64)
    (local $n i32) (local $i i32)
    (local.set $n (call $begin (local.get $frame)))
    (global.set $crossings (i32.add (global.get $crossings) (i32.const 1)))
    (block $done (loop $more
      (br_if $done (i32.eq (local.get $i) (local.get $n)))
      (call $event)
      (block $said
        (if (i32.or (i32.eq (global.get $crossings) (i32.const 1)) (i32.gt_u (local.get $i) (i32.const 2)))
          (then (call $put (i32.const 0xc0)) (br $said)))
        (if (i32.eqz (local.get $i)) (then (call $three (i32.const 0x91) (i32.const 0) (i32.const -1)) (br $said)))
        (if (i32.eq (local.get $i) (i32.const 1))
          (then (call $three (i32.const 0x92) (i32.const 1) (i32.const 0xc4)) (call $three (i32.const 1) (i32.const 0x78) (i32.const -1)) (br $said)))
        (call $three (i32.const 0x93) (i32.const 3) (i32.const 0xa1)) (call $three (i32.const 0xff) (i32.const 0xa0) (i32.const -1)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $more)))
    (call $finish)))
