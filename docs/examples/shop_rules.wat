;; Two procedures of docs/sql.md, in WebAssembly's own text format so that they need no toolchain.
;;   apply_rules([customer]) -> the discount: a tenth of the customer's total for gold, a twentieth for silver
;;   validate([event])       -> refuses a row whose total is not above zero, fills an empty status with "new"
(module
  (memory (export "memory") 2)
  (data (i32.const 0) "totaltierafterstatusgoldsilver")
  (data (i32.const 64) "\93\03\a8no-total\b9the customer has no total")
  (data (i32.const 128) "\93\03\a5total\b8total must be above zero")
  (data (i32.const 192) "\92\00\c0")
  (data (i32.const 208) "\92\00\81\a6status\a3new")
  (data (i32.const 224) "\92\00\cb")
  (global $top (mut i32) (i32.const 65536))
  (global $at (mut i32) (i32.const 0)) ;; where the reader is

  (func (export "penstock_v1_alloc") (param $size i32) (result i32)
    (local $at i32) (local $need i32)
    (local.set $at (global.get $top))
    (global.set $top (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.set $need (i32.sub (i32.shr_u (i32.add (global.get $top) (i32.const 65535)) (i32.const 16)) (memory.size)))
    (if (i32.gt_s (local.get $need) (i32.const 0))
      (then (if (i32.eq (memory.grow (local.get $need)) (i32.const -1)) (then (return (i32.const 0))))))
    (local.get $at))

  (func $answer (param $at i32) (param $size i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $size))))

  ;; the big-endian number of $width bytes
  (func $big (param $width i32) (result i64)
    (local $n i64)
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $width)))
      (local.set $n (i64.or (i64.shl (local.get $n) (i64.const 8)) (i64.load8_u (global.get $at))))
      (global.set $at (i32.add (global.get $at) (i32.const 1)))
      (local.set $width (i32.sub (local.get $width) (i32.const 1)))
      (br $more)))
    (local.get $n))
  (func $byte (result i32) (i32.wrap_i64 (call $big (i32.const 1))))
  (func $pass (param i32) (global.set $at (i32.add (global.get $at) (local.get 0))))

  ;; the length of a text, with the reader at its first byte; -1 for anything else, which is left where it is
  (func $text (result i32)
    (local $b i32)
    (local.set $b (call $byte))
    (if (i32.eq (i32.and (local.get $b) (i32.const 0xe0)) (i32.const 0xa0)) (then (return (i32.and (local.get $b) (i32.const 31)))))
    (if (i32.and (i32.ge_u (local.get $b) (i32.const 0xd9)) (i32.le_u (local.get $b) (i32.const 0xdb)))
      (then (return (i32.wrap_i64 (call $big (i32.shl (i32.const 1) (i32.sub (local.get $b) (i32.const 0xd9))))))))
    (call $pass (i32.const -1))
    (i32.const -1))

  ;; how many pairs a map has; 0 for anything else
  (func $map (result i32)
    (local $b i32)
    (local.set $b (call $byte))
    (if (i32.eq (i32.and (local.get $b) (i32.const 0xf0)) (i32.const 0x80)) (then (return (i32.and (local.get $b) (i32.const 15)))))
    (if (i32.eq (local.get $b) (i32.const 0xde)) (then (return (i32.wrap_i64 (call $big (i32.const 2))))))
    (if (i32.eq (local.get $b) (i32.const 0xdf)) (then (return (i32.wrap_i64 (call $big (i32.const 4))))))
    (i32.const 0))

  ;; pass over one value and all that is in it
  (func $skip
    (local $left i32) (local $b i32) (local $n i32)
    (local.set $left (i32.const 1))
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $left)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (local.set $n (call $text))
      (if (i32.ge_s (local.get $n) (i32.const 0)) (then (call $pass (local.get $n)) (br $more)))
      (local.set $b (i32.load8_u (global.get $at)))
      (if (i32.or (i32.eq (i32.and (local.get $b) (i32.const 0xf0)) (i32.const 0x80)) (i32.eq (i32.or (local.get $b) (i32.const 1)) (i32.const 0xdf)))
        (then (local.set $left (i32.add (local.get $left) (i32.shl (call $map) (i32.const 1)))) (br $more)))
      (call $pass (i32.const 1))
      (if (i32.eq (i32.and (local.get $b) (i32.const 0xf0)) (i32.const 0x90))
        (then (local.set $left (i32.add (local.get $left) (i32.and (local.get $b) (i32.const 15)))) (br $more)))
      (if (i32.eq (i32.or (local.get $b) (i32.const 1)) (i32.const 0xdd))
        (then (local.set $left (i32.add (local.get $left)
          (i32.wrap_i64 (call $big (i32.shl (i32.const 2) (i32.and (local.get $b) (i32.const 1))))))) (br $more)))
      (if (i32.and (i32.ge_u (local.get $b) (i32.const 0xc4)) (i32.le_u (local.get $b) (i32.const 0xc6)))
        (then (call $pass (i32.wrap_i64 (call $big (i32.shl (i32.const 1) (i32.sub (local.get $b) (i32.const 0xc4)))))) (br $more)))
      (if (i32.and (i32.ge_u (local.get $b) (i32.const 0xcc)) (i32.le_u (local.get $b) (i32.const 0xd3)))
        (then (call $pass (i32.shl (i32.const 1) (i32.and (local.get $b) (i32.const 3)))) (br $more)))
      (if (i32.eq (local.get $b) (i32.const 0xca)) (then (call $pass (i32.const 4)) (br $more)))
      (if (i32.eq (local.get $b) (i32.const 0xcb)) (then (call $pass (i32.const 8))))
      (br $more))))

  ;; the text at the reader is that of $size bytes at $word; the reader is behind it then
  (func $is (param $word i32) (param $size i32) (result i32)
    (local $i i32) (local $same i32) (local $n i32)
    (local.set $n (call $text))
    (if (i32.lt_s (local.get $n) (i32.const 0)) (then (call $skip) (return (i32.const 0))))
    (local.set $same (i32.eq (local.get $n) (local.get $size)))
    (block $done (loop $more
      (br_if $done (i32.eqz (i32.and (local.get $same) (i32.lt_u (local.get $i) (local.get $n)))))
      (local.set $same (i32.eq (i32.load8_u (i32.add (local.get $word) (local.get $i))) (i32.load8_u (i32.add (global.get $at) (local.get $i)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $more)))
    (call $pass (local.get $n))
    (local.get $same))

  ;; in the map at $map, go to the value of this name; 0 when there is none
  (func $find (param $map i32) (param $word i32) (param $size i32) (result i32)
    (local $pairs i32)
    (global.set $at (local.get $map))
    (local.set $pairs (call $map))
    (block $none (loop $more
      (br_if $none (i32.eqz (local.get $pairs)))
      (if (call $is (local.get $word) (local.get $size)) (then (return (i32.const 1))))
      (call $skip)
      (local.set $pairs (i32.sub (local.get $pairs) (i32.const 1)))
      (br $more)))
    (i32.const 0))

  ;; the number at the reader; NaN for anything else
  (func $number (result f64)
    (local $b i32) (local $width i32)
    (local.set $b (call $byte))
    (if (i32.lt_u (local.get $b) (i32.const 0x80)) (then (return (f64.convert_i32_u (local.get $b)))))
    (if (i32.ge_u (local.get $b) (i32.const 0xe0)) (then (return (f64.convert_i32_s (i32.sub (local.get $b) (i32.const 256))))))
    (if (i32.eq (local.get $b) (i32.const 0xca)) (then (return (f64.promote_f32 (f32.reinterpret_i32 (i32.wrap_i64 (call $big (i32.const 4))))))))
    (if (i32.eq (local.get $b) (i32.const 0xcb)) (then (return (f64.reinterpret_i64 (call $big (i32.const 8))))))
    (local.set $width (i32.shl (i32.const 1) (i32.and (local.get $b) (i32.const 3))))
    (if (i32.eq (i32.and (local.get $b) (i32.const 0xfc)) (i32.const 0xcc)) (then (return (f64.convert_i64_u (call $big (local.get $width))))))
    (if (i32.eq (i32.and (local.get $b) (i32.const 0xfc)) (i32.const 0xd0))
      (then (return (f64.convert_i64_s (i64.shr_s
        (i64.shl (call $big (local.get $width)) (i64.extend_i32_u (i32.sub (i32.const 64) (i32.shl (local.get $width) (i32.const 3)))))
        (i64.extend_i32_u (i32.sub (i32.const 64) (i32.shl (local.get $width) (i32.const 3)))))))))
    (f64.const nan))

  (func $rate (param $customer i32) (result f64)
    (if (i32.eqz (call $find (local.get $customer) (i32.const 5) (i32.const 4))) (then (return (f64.const 0))))
    (local.set $customer (global.get $at))
    (if (call $is (i32.const 20) (i32.const 4)) (then (return (f64.const 0.1))))
    (global.set $at (local.get $customer))
    (if (call $is (i32.const 24) (i32.const 6)) (then (return (f64.const 0.05))))
    (f64.const 0))

  (func (export "apply_rules") (param $at i32) (param $size i32) (result i64)
    (local $customer i32) (local $total f64) (local $bits i64) (local $i i32)
    (local.set $customer (i32.add (local.get $at) (i32.const 1))) ;; behind the array's head
    (local.set $total (f64.const nan))
    (if (call $find (local.get $customer) (i32.const 0) (i32.const 5)) (then (local.set $total (call $number))))
    (if (f64.ne (local.get $total) (local.get $total)) (then (return (call $answer (i32.const 64) (i32.const 37)))))
    (local.set $bits (i64.reinterpret_f64 (f64.mul (local.get $total) (call $rate (local.get $customer)))))
    (loop $more
      (i64.store8 (i32.sub (i32.const 234) (local.get $i)) (local.get $bits))
      (local.set $bits (i64.shr_u (local.get $bits) (i64.const 8)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const 8))))
    (call $answer (i32.const 224) (i32.const 11)))

  (func (export "validate") (param $at i32) (param $size i32) (result i64)
    (local $row i32)
    (if (i32.eqz (call $find (i32.add (local.get $at) (i32.const 1)) (i32.const 9) (i32.const 5)))
      (then (return (call $answer (i32.const 192) (i32.const 3)))))
    (local.set $row (global.get $at))
    (if (i32.eqz (call $find (local.get $row) (i32.const 0) (i32.const 5)))
      (then (return (call $answer (i32.const 128) (i32.const 33)))))
    (if (i32.eqz (f64.gt (call $number) (f64.const 0))) (then (return (call $answer (i32.const 128) (i32.const 33)))))
    (if (call $find (local.get $row) (i32.const 14) (i32.const 6))
      (then (if (i32.eq (i32.load8_u (global.get $at)) (i32.const 0xc0)) (then (return (call $answer (i32.const 208) (i32.const 14)))))))
    (call $answer (i32.const 192) (i32.const 3))))
