;; The transformer of docs/enrichment.md, in WebAssembly's own text format so that it needs no toolchain. An event's value is a
;; customer's name; its new value is that customer's row as msgpack. Who is not in the table is rejected.
(module
  (import "penstock" "lookup" (func $lookup (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "\92\a9customers\d9")          ;; ["customers", and the head of a text
  (data (i32.const 64) "\93\03\a7unknown\b0no such customer") ;; [3, "unknown", "no such customer"]
  (global $top (mut i32) (i32.const 65536))
  (global $at (mut i32) (i32.const 0))  ;; where the reader is
  (global $out (mut i32) (i32.const 0)) ;; where the writer is

  (func $take (export "penstock_v1_alloc") (param $size i32) (result i32)
    (local $at i32) (local $need i32)
    (local.set $at (global.get $top))
    (global.set $top (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.set $need (i32.sub (i32.shr_u (i32.add (global.get $top) (i32.const 65535)) (i32.const 16)) (memory.size)))
    (if (i32.gt_s (local.get $need) (i32.const 0))
      (then (if (i32.eq (memory.grow (local.get $need)) (i32.const -1)) (then (return (i32.const 0))))))
    (local.get $at))

  ;; the big-endian number of $width bytes
  (func $number (param $width i32) (result i32)
    (local $n i32)
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $width)))
      (local.set $n (i32.or (i32.shl (local.get $n) (i32.const 8)) (i32.load8_u (global.get $at))))
      (global.set $at (i32.add (global.get $at) (i32.const 1)))
      (local.set $width (i32.sub (local.get $width) (i32.const 1)))
      (br $more)))
    (local.get $n))
  (func $pass (param i32) (global.set $at (i32.add (global.get $at) (local.get 0))))

  ;; the length of an array
  (func $array (result i32)
    (local $b i32)
    (local.set $b (call $number (i32.const 1)))
    (if (i32.eq (local.get $b) (i32.const 0xdc)) (then (return (call $number (i32.const 2)))))
    (if (i32.eq (local.get $b) (i32.const 0xdd)) (then (return (call $number (i32.const 4)))))
    (i32.and (local.get $b) (i32.const 15)))

  ;; the length of a byte string or text, with the reader at its first byte; 0 for nil
  (func $bytes (result i32)
    (local $b i32)
    (local.set $b (call $number (i32.const 1)))
    (if (i32.eq (local.get $b) (i32.const 0xc0)) (then (return (i32.const 0))))
    (if (i32.lt_u (local.get $b) (i32.const 0xc0)) (then (return (i32.and (local.get $b) (i32.const 31)))))
    (if (i32.ge_u (local.get $b) (i32.const 0xd9))
      (then (return (call $number (i32.shl (i32.const 1) (i32.sub (local.get $b) (i32.const 0xd9)))))))
    (call $number (i32.shl (i32.const 1) (i32.sub (local.get $b) (i32.const 0xc4)))))

  ;; pass over an integer
  (func $integer
    (local $b i32)
    (local.set $b (call $number (i32.const 1)))
    (if (i32.and (i32.ge_u (local.get $b) (i32.const 0xcc)) (i32.le_u (local.get $b) (i32.const 0xd3)))
      (then (call $pass (i32.shl (i32.const 1) (i32.and (local.get $b) (i32.const 3)))))))

  ;; pass over headers: [[name, value], ...]
  (func $headers
    (local $n i32)
    (local.set $n (call $array))
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $n)))
      (drop (call $array))
      (call $pass (call $bytes))
      (call $pass (call $bytes))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br $more))))

  (func $copy (param $from i32) (param $length i32)
    (memory.copy (global.get $out) (local.get $from) (local.get $length))
    (global.set $out (i32.add (global.get $out) (local.get $length))))

  ;; what the host knows of the customer whose name is here: the answer's length, or a negative code
  (func $row (param $name i32) (param $length i32) (param $answer i32) (result i32)
    (local $request i32)
    (local.set $request (call $take (i32.const 280)))
    (memory.copy (local.get $request) (i32.const 16) (i32.const 12))
    (i32.store8 offset=12 (local.get $request) (local.get $length))
    (memory.copy (i32.add (local.get $request) (i32.const 13)) (local.get $name) (local.get $length))
    (call $lookup (local.get $request) (i32.add (local.get $length) (i32.const 13)) (local.get $answer) (i32.const 1024)))

  (func (export "transform_event") (param $frame i32) (param i32) (result i64)
    (local $n i32) (local $i i32) (local $start i32) (local $length i32) (local $answer i32) (local $status i32)
    (global.set $at (local.get $frame))
    (drop (call $array))
    (call $pass_meta)
    (local.set $n (call $array))
    (local.set $start (call $take (i32.add (i32.const 8) (i32.mul (local.get $n) (i32.const 1040)))))
    (global.set $out (local.get $start))
    (i32.store8 (global.get $out) (i32.const 0xdc))
    (i32.store8 offset=1 (global.get $out) (i32.shr_u (local.get $n) (i32.const 8)))
    (i32.store8 offset=2 (global.get $out) (local.get $n))
    (global.set $out (i32.add (global.get $out) (i32.const 3)))
    (local.set $answer (call $take (i32.const 1024)))
    (block $done (loop $more
      (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (drop (call $array))
      (call $integer)
      (call $integer)
      (call $pass (call $bytes)) ;; the key
      (local.set $length (call $bytes))
      (local.set $status (i32.const -1))
      (if (i32.lt_u (local.get $length) (i32.const 256))
        (then (local.set $status (call $row (global.get $at) (local.get $length) (local.get $answer)))))
      (call $pass (local.get $length))
      (call $headers)
      (if (i32.gt_s (local.get $status) (i32.const 1)) ;; one byte is nil: no such row
        (then ;; [1, the row's bytes]
          (i32.store (global.get $out) (i32.const 0x00c50192))
          (i32.store8 offset=3 (global.get $out) (i32.shr_u (local.get $status) (i32.const 8)))
          (i32.store8 offset=4 (global.get $out) (local.get $status))
          (global.set $out (i32.add (global.get $out) (i32.const 5)))
          (call $copy (local.get $answer) (local.get $status)))
        (else (call $copy (i32.const 64) (i32.const 27))))
      (br $more)))
    (i64.or
      (i64.shl (i64.extend_i32_u (local.get $start)) (i64.const 32))
      (i64.extend_i32_u (i32.sub (global.get $out) (local.get $start)))))

  ;; the frame's first element is a map of texts and integers about the batch
  (func $pass_meta
    (local $n i32)
    (local.set $n (i32.and (call $number (i32.const 1)) (i32.const 15)))
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $n)))
      (call $pass (call $bytes))
      (call $value)
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br $more))))
  (func $value
    (local $b i32)
    (local.set $b (i32.load8_u (global.get $at)))
    (if (i32.or (i32.eq (i32.and (local.get $b) (i32.const 0xe0)) (i32.const 0xa0))
                (i32.and (i32.ge_u (local.get $b) (i32.const 0xd9)) (i32.le_u (local.get $b) (i32.const 0xdb))))
      (then (call $pass (call $bytes)))
      (else (call $integer)))))
