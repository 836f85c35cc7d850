;; A guest whose behaviour the events choose. The first byte of each event's value is its command:
;;   k  keep (nil)          d  drop            r  replace with "R"       j  reject ("no", "bad")
;;   e  emit two records    t  emit one record to the topic "other"
;;   L  endless loop        U  unreachable     Z  division by zero       B  load outside memory
;;   S  stack overflow      N  indirect call of a null entry             G  indirect call of a wrong type
;;   M  grow until refused, then unreachable   O  grow until refused, then fail("memory", "no more")
;;   F  fail("custom", "gave up")              W  write the cursor one past this event, then unreachable
;;   9  emit 2 MiB          #  a result that is no result (a str)
;; Other bytes keep. The cursor is kept honestly. Needs no value decoding beyond msgpack's bin headers.
(module
  (import "penstock" "fail" (func $fail (param i32 i32 i32 i32)))
  (memory (export "memory") 2)
  (type $v (func))
  (type $i (func (param i32)))
  (table 4 funcref)
  (elem (i32.const 1) $takes)
  (func $takes (param i32))
  (global $heap (mut i32) (i32.const 65536))
  (global $at (mut i32) (i32.const 0))
  (global $out (mut i32) (i32.const 0))
  ;; 16: cursor; 32: strings
  (data (i32.const 32) "custom" "gave up" "memory" "no more")
  (data (i32.const 64) "\94\c0\c4\01K\c4\01V\90")
  (data (i32.const 96) "\94\a5other\c0\c0\90")

  (func (export "penstock_v1_cursor") (result i32) (i32.const 16))

  (func $reserve (param $end i32)
    (local $need i32)
    (local.set $need (i32.sub (i32.shr_u (i32.add (local.get $end) (i32.const 65535)) (i32.const 16)) (memory.size)))
    (if (i32.gt_s (local.get $need) (i32.const 0))
      (then (drop (memory.grow (local.get $need))))))

  (func $alloc (export "penstock_v1_alloc") (param $size i32) (result i32)
    (local $p i32)
    (local.set $p (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $p) (local.get $size)))
    (call $reserve (global.get $heap))
    (if (i32.gt_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))) (then (return (i32.const 0))))
    (local.get $p))

  ;; a big-endian number of $width bytes at $at, which moves on
  (func $number (param $width i32) (result i32)
    (local $n i32)
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $width)))
      (local.set $n (i32.or (i32.shl (local.get $n) (i32.const 8)) (i32.load8_u (global.get $at))))
      (global.set $at (i32.add (global.get $at) (i32.const 1)))
      (local.set $width (i32.sub (local.get $width) (i32.const 1)))
      (br $more)))
    (local.get $n))

  (func $byte (result i32) (call $number (i32.const 1)))

  ;; step over $count msgpack items
  (func $skip (param $count i32)
    (local $b i32)
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (local.set $b (call $byte))
      (if (i32.lt_u (local.get $b) (i32.const 0x80)) (then (br $more)))
      (if (i32.ge_u (local.get $b) (i32.const 0xe0)) (then (br $more)))
      (if (i32.lt_u (local.get $b) (i32.const 0x90))
        (then (local.set $count (i32.add (local.get $count) (i32.shl (i32.and (local.get $b) (i32.const 15)) (i32.const 1)))) (br $more)))
      (if (i32.lt_u (local.get $b) (i32.const 0xa0))
        (then (local.set $count (i32.add (local.get $count) (i32.and (local.get $b) (i32.const 15)))) (br $more)))
      (if (i32.lt_u (local.get $b) (i32.const 0xc0))
        (then (global.set $at (i32.add (global.get $at) (i32.and (local.get $b) (i32.const 31)))) (br $more)))
      (if (i32.le_u (local.get $b) (i32.const 0xc3)) (then (br $more)))
      ;; bin 8/16/32, str 8/16/32
      (if (i32.le_u (local.get $b) (i32.const 0xc6))
        (then (call $advance (call $number (i32.shl (i32.const 1) (i32.sub (local.get $b) (i32.const 0xc4))))) (br $more)))
      (if (i32.and (i32.ge_u (local.get $b) (i32.const 0xd9)) (i32.le_u (local.get $b) (i32.const 0xdb)))
        (then (call $advance (call $number (i32.shl (i32.const 1) (i32.sub (local.get $b) (i32.const 0xd9))))) (br $more)))
      ;; uint 8..64 and int 8..64
      (if (i32.and (i32.ge_u (local.get $b) (i32.const 0xcc)) (i32.le_u (local.get $b) (i32.const 0xcf)))
        (then (call $advance (i32.shl (i32.const 1) (i32.sub (local.get $b) (i32.const 0xcc)))) (br $more)))
      (if (i32.and (i32.ge_u (local.get $b) (i32.const 0xd0)) (i32.le_u (local.get $b) (i32.const 0xd3)))
        (then (call $advance (i32.shl (i32.const 1) (i32.sub (local.get $b) (i32.const 0xd0)))) (br $more)))
      ;; array 16/32, map 16/32
      (if (i32.eq (local.get $b) (i32.const 0xdc)) (then (local.set $count (i32.add (local.get $count) (call $number (i32.const 2)))) (br $more)))
      (if (i32.eq (local.get $b) (i32.const 0xdd)) (then (local.set $count (i32.add (local.get $count) (call $number (i32.const 4)))) (br $more)))
      (br $more))))

  (func $advance (param i32) (global.set $at (i32.add (global.get $at) (local.get 0))))

  ;; length of the array at $at, which moves on
  (func $array (result i32)
    (local $b i32)
    (local.set $b (call $byte))
    (if (i32.eq (local.get $b) (i32.const 0xdc)) (then (return (call $number (i32.const 2)))))
    (if (i32.eq (local.get $b) (i32.const 0xdd)) (then (return (call $number (i32.const 4)))))
    (i32.and (local.get $b) (i32.const 15)))

  ;; first byte of the bin or nil at $at (0 for nil and empty), which moves past it
  (func $command (result i32)
    (local $b i32) (local $n i32) (local $first i32)
    (local.set $b (call $byte))
    (if (i32.eq (local.get $b) (i32.const 0xc0)) (then (return (i32.const 0))))
    (local.set $n (call $number (i32.shl (i32.const 1) (i32.sub (local.get $b) (i32.const 0xc4)))))
    (if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
    (local.set $first (i32.load8_u (global.get $at)))
    (call $advance (local.get $n))
    (local.get $first))

  (func $put (param i32)
    (i32.store8 (global.get $out) (local.get 0))
    (global.set $out (i32.add (global.get $out) (i32.const 1))))

  (func $copy (param $from i32) (param $n i32)
    (memory.copy (global.get $out) (local.get $from) (local.get $n))
    (global.set $out (i32.add (global.get $out) (local.get $n))))

  (func $overflow (result i32) (i32.add (call $overflow) (i32.const 1)))
  (func $hog
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))))

  (func $work (param $c i32) (param $index i32)
    (if (i32.eq (local.get $c) (i32.const 0x4c)) (then (loop $ever (br $ever))))                       ;; L
    (if (i32.eq (local.get $c) (i32.const 0x55)) (then unreachable))                                    ;; U
    (if (i32.eq (local.get $c) (i32.const 0x5a)) (then (drop (i32.div_u (i32.const 1) (i32.const 0))))) ;; Z
    (if (i32.eq (local.get $c) (i32.const 0x42)) (then (drop (i32.load (i32.const -8)))))               ;; B
    (if (i32.eq (local.get $c) (i32.const 0x53)) (then (drop (call $overflow))))                        ;; S
    (if (i32.eq (local.get $c) (i32.const 0x4e)) (then (call_indirect (type $v) (i32.const 0))))        ;; N
    (if (i32.eq (local.get $c) (i32.const 0x47)) (then (call_indirect (type $v) (i32.const 1))))        ;; G
    (if (i32.eq (local.get $c) (i32.const 0x4d)) (then (call $hog) unreachable))                        ;; M
    (if (i32.eq (local.get $c) (i32.const 0x4f))                                                        ;; O
      (then (call $hog) (call $fail (i32.const 45) (i32.const 6) (i32.const 51) (i32.const 7))))
    (if (i32.eq (local.get $c) (i32.const 0x46))                                                        ;; F
      (then (call $fail (i32.const 32) (i32.const 6) (i32.const 38) (i32.const 7))))
    (if (i32.eq (local.get $c) (i32.const 0x57))                                                        ;; W
      (then (i32.store (i32.const 16) (i32.add (local.get $index) (i32.const 1))) unreachable))
    (if (i32.eq (local.get $c) (i32.const 0x64)) (then (call $put (i32.const 0x91)) (call $put (i32.const 0)) (return)))   ;; d
    (if (i32.eq (local.get $c) (i32.const 0x72))                                                        ;; r
      (then (call $put (i32.const 0x92)) (call $put (i32.const 1)) (call $put (i32.const 0xc4)) (call $put (i32.const 1)) (call $put (i32.const 0x52)) (return)))
    (if (i32.eq (local.get $c) (i32.const 0x6a))                                                        ;; j
      (then (call $put (i32.const 0x93)) (call $put (i32.const 3)) (call $put (i32.const 0xa2)) (call $put (i32.const 0x6e)) (call $put (i32.const 0x6f))
        (call $put (i32.const 0xa3)) (call $put (i32.const 0x62)) (call $put (i32.const 0x61)) (call $put (i32.const 0x64)) (return)))
    (if (i32.eq (local.get $c) (i32.const 0x65))                                                        ;; e
      (then (call $put (i32.const 0x92)) (call $put (i32.const 2)) (call $put (i32.const 0x92))
        (call $copy (i32.const 64) (i32.const 9)) (call $copy (i32.const 64) (i32.const 9)) (return)))
    (if (i32.eq (local.get $c) (i32.const 0x74))                                                        ;; t
      (then (call $put (i32.const 0x92)) (call $put (i32.const 2)) (call $put (i32.const 0x91))
        (call $copy (i32.const 96) (i32.const 10)) (return)))
    (if (i32.eq (local.get $c) (i32.const 0x39))                                                        ;; 9
      (then (call $put (i32.const 0x92)) (call $put (i32.const 1)) (call $put (i32.const 0xc6))
        (call $put (i32.const 0)) (call $put (i32.const 0x20)) (call $put (i32.const 0)) (call $put (i32.const 0))
        (call $reserve (i32.add (global.get $out) (i32.const 0x210000)))
        (memory.fill (global.get $out) (i32.const 0x78) (i32.const 0x200000))
        (global.set $out (i32.add (global.get $out) (i32.const 0x200000))) (return)))
    (if (i32.eq (local.get $c) (i32.const 0x23)) (then (call $put (i32.const 0xa1)) (call $put (i32.const 0x78)) (return)))  ;; #
    (call $put (i32.const 0xc0)))

  (func (export "penstock_v1_transform") (param $ptr i32) (param $len i32) (result i64)
    (local $n i32) (local $i i32) (local $start i32) (local $c i32)
    (global.set $at (local.get $ptr))
    (drop (call $array))
    (call $skip (i32.const 1))
    (local.set $n (call $array))
    (local.set $start (call $alloc (i32.add (i32.const 64) (i32.mul (local.get $n) (i32.const 32)))))
    (global.set $out (local.get $start))
    (call $put (i32.const 0xdd))
    (call $put (i32.shr_u (local.get $n) (i32.const 24))) (call $put (i32.shr_u (local.get $n) (i32.const 16)))
    (call $put (i32.shr_u (local.get $n) (i32.const 8))) (call $put (local.get $n))
    (block $done (loop $more
      (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
      (i32.store (i32.const 16) (local.get $i))
      (drop (call $array))
      (call $skip (i32.const 3))
      (local.set $c (call $command))
      (call $skip (i32.const 1))
      (call $work (local.get $c) (local.get $i))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $more)))
    (i64.or (i64.shl (i64.extend_i32_u (local.get $start)) (i64.const 32))
            (i64.extend_i32_u (i32.sub (global.get $out) (local.get $start))))))
