  ;; Shared by the guests beside it ((;include frame;)): a bump allocator, a msgpack reader and a writer.
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  (global $at (mut i32) (i32.const 0))     ;; where the reader is
  (global $out (mut i32) (i32.const 0))    ;; where the writer is
  (global $start (mut i32) (i32.const 0))  ;; where the result frame began
  (global $value (mut i32) (i32.const 0))  ;; address of the event's value
  (global $length (mut i32) (i32.const 0)) ;; its length

  (func $bump (param $size i32) (result i32)
    (local $p i32) (local $need i32)
    (local.set $p (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $p) (local.get $size)))
    (local.set $need (i32.sub (i32.shr_u (i32.add (global.get $heap) (i32.const 65535)) (i32.const 16)) (memory.size)))
    (if (i32.gt_s (local.get $need) (i32.const 0))
      (then (if (i32.eq (memory.grow (local.get $need)) (i32.const -1)) (then (return (i32.const 0))))))
    (local.get $p))

  (func $advance (param i32) (global.set $at (i32.add (global.get $at) (local.get 0))))

  ;; the big-endian number of $width bytes
  (func $number (param $width i32) (result i32)
    (local $n i32)
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $width)))
      (local.set $n (i32.or (i32.shl (local.get $n) (i32.const 8)) (i32.load8_u (global.get $at))))
      (call $advance (i32.const 1))
      (local.set $width (i32.sub (local.get $width) (i32.const 1)))
      (br $more)))
    (local.get $n))

  ;; the length of an array
  (func $array (result i32)
    (local $b i32)
    (local.set $b (call $number (i32.const 1)))
    (if (i32.eq (local.get $b) (i32.const 0xdc)) (then (return (call $number (i32.const 2)))))
    (if (i32.eq (local.get $b) (i32.const 0xdd)) (then (return (call $number (i32.const 4)))))
    (i32.and (local.get $b) (i32.const 15)))

  ;; pass over $count items
  (func $skip (param $count i32)
    (local $b i32)
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (local.set $b (call $number (i32.const 1)))
      (if (i32.or (i32.lt_u (local.get $b) (i32.const 0x80)) (i32.ge_u (local.get $b) (i32.const 0xe0))) (then (br $more)))
      (if (i32.lt_u (local.get $b) (i32.const 0x90))
        (then (local.set $count (i32.add (local.get $count) (i32.shl (i32.and (local.get $b) (i32.const 15)) (i32.const 1)))) (br $more)))
      (if (i32.lt_u (local.get $b) (i32.const 0xa0))
        (then (local.set $count (i32.add (local.get $count) (i32.and (local.get $b) (i32.const 15)))) (br $more)))
      (if (i32.lt_u (local.get $b) (i32.const 0xc0)) (then (call $advance (i32.and (local.get $b) (i32.const 31))) (br $more)))
      (if (i32.le_u (local.get $b) (i32.const 0xc3)) (then (br $more)))
      (if (i32.le_u (local.get $b) (i32.const 0xc6))
        (then (call $advance (call $number (i32.shl (i32.const 1) (i32.sub (local.get $b) (i32.const 0xc4))))) (br $more)))
      (if (i32.le_u (local.get $b) (i32.const 0xc9))
        (then (call $advance (i32.add (i32.const 1) (call $number (i32.shl (i32.const 1) (i32.sub (local.get $b) (i32.const 0xc7)))))) (br $more)))
      (if (i32.le_u (local.get $b) (i32.const 0xcb))
        (then (call $advance (i32.shl (i32.const 4) (i32.and (local.get $b) (i32.const 1)))) (br $more)))
      (if (i32.and (i32.ge_u (local.get $b) (i32.const 0xd9)) (i32.le_u (local.get $b) (i32.const 0xdb)))
        (then (call $advance (call $number (i32.shl (i32.const 1) (i32.sub (local.get $b) (i32.const 0xd9))))) (br $more)))
      (if (i32.and (i32.ge_u (local.get $b) (i32.const 0xcc)) (i32.le_u (local.get $b) (i32.const 0xd3)))
        (then (call $advance (i32.shl (i32.const 1) (i32.and (local.get $b) (i32.const 3)))) (br $more)))
      (if (i32.eq (local.get $b) (i32.const 0xdc)) (then (local.set $count (i32.add (local.get $count) (call $number (i32.const 2))))))
      (if (i32.eq (local.get $b) (i32.const 0xdd)) (then (local.set $count (i32.add (local.get $count) (call $number (i32.const 4))))))
      (if (i32.ge_u (local.get $b) (i32.const 0xde))
        (then (local.set $count (i32.add (local.get $count) (i32.shl (call $number (i32.shl (i32.const 2) (i32.and (local.get $b) (i32.const 1)))) (i32.const 1))))))
      (br $more))))

  ;; begin a frame: reads its head, writes the result's; the number of events
  (func $begin (param $frame i32) (result i32)
    (local $n i32)
    (global.set $at (local.get $frame))
    (drop (call $array))
    (call $skip (i32.const 1))
    (local.set $n (call $array))
    (global.set $start (call $bump (i32.add (i32.const 64) (i32.mul (local.get $n) (i32.const 32)))))
    (global.set $out (global.get $start))
    (call $put (i32.const 0xdd))
    (call $put_u32 (local.get $n))
    (local.get $n))

  ;; read one event; $value and $length are then its value (0, 0 for nil)
  (func $event
    (local $b i32)
    (drop (call $array))
    (call $skip (i32.const 3))
    (global.set $value (i32.const 0))
    (global.set $length (i32.const 0))
    (local.set $b (call $number (i32.const 1)))
    (if (i32.ne (local.get $b) (i32.const 0xc0)) (then
      (global.set $length (call $number (i32.shl (i32.const 1) (i32.sub (local.get $b) (i32.const 0xc4)))))
      (global.set $value (global.get $at))
      (call $advance (global.get $length))))
    (call $skip (i32.const 1)))

  ;; the byte at $index of the value, or 0
  (func $byte (param $index i32) (result i32)
    (if (i32.ge_u (local.get $index) (global.get $length)) (then (return (i32.const 0))))
    (i32.load8_u (i32.add (global.get $value) (local.get $index))))

  (func $put (param i32)
    (i32.store8 (global.get $out) (local.get 0))
    (global.set $out (i32.add (global.get $out) (i32.const 1))))
  (func $put_u32 (param i32)
    (call $put (i32.shr_u (local.get 0) (i32.const 24))) (call $put (i32.shr_u (local.get 0) (i32.const 16)))
    (call $put (i32.shr_u (local.get 0) (i32.const 8))) (call $put (local.get 0)))

  (func $pack (param $address i32) (param $length i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $address)) (i64.const 32)) (i64.extend_i32_u (local.get $length))))
  (func $finish (result i64) (call $pack (global.get $start) (i32.sub (global.get $out) (global.get $start))))
