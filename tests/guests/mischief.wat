;; One stage of a chain whose behaviour the events choose: byte $STAGE of a value is its command ($STAGE is $BASE, $BASE + 1 or $BASE + 2).
;; From $BASE on, bytes 0-2 are commands, byte 3 ($CHILD) says which child this is, bytes 4-6 who replaced it. Values have 8 to 200 bytes.
;;   k  keep            d  drop                n  emit no record        r  replace: byte 4+$STAGE becomes "R"
;;   z  tombstone       t  to topic "other"    y  under the key "moved"
;;   e  two children, the second's further commands all keep            E  the same two, in the other order
;;   j  reject          F  give up by `fail`   #  no result             9  1200 bytes           f  to a foreign topic
;;   U  unreachable     S  stack overflow      M  all memory, then unreachable                  L  endless loop
;;   s  slow: 8 ms      m  keeps 14 pages      W V N  lies about the cursor (next, first, -1), then unreachable
;; It is poisoned before it misbehaves, and by being used for longer than $MODE allows (0: one batch, 1: one event, 2: any
;; number): every answer of a poisoned guest is "X".
(module
  (import "penstock" "fail" (func $fail (param i32 i32 i32 i32)))
  (import "test" "tick" (func $tick (param i32)))
  (;include frame;)
  (global $poison (mut i32) (i32.const 0))
  (global $calls (mut i32) (i32.const 0))
  (global $seen (mut i32) (i32.const 0))
  (data (i32.const 32) "custom" "gave up" "other" "foreign" "moved")

  (func (export "penstock_v1_alloc") (param i32) (result i32) (call $bump (local.get 0)))
  (func (export "penstock_v1_cursor") (result i32) (i32.const 16))

  (func $copy (param $from i32) (param $n i32)
    (memory.copy (global.get $out) (local.get $from) (local.get $n))
    (global.set $out (i32.add (global.get $out) (local.get $n))))

  ;; the value as a bin; its address in the answer
  (func $put_value (result i32)
    (local $p i32)
    (call $put (i32.const 0xc4)) (call $put (global.get $length))
    (local.set $p (global.get $out))
    (call $copy (global.get $value) (global.get $length))
    (local.get $p))

  ;; [2, [n records]]
  (func $emit (param $n i32)
    (call $put (i32.const 0x92)) (call $put (i32.const 2)) (call $put (i32.or (i32.const 0x90) (local.get $n))))

  ;; a record without a topic, as far as its value: [nil, key, …
  (func $record
    (local $key i32)
    (call $put (i32.const 0x94)) (call $put (i32.const 0xc0)) (call $put_key))

  (global $key (mut i32) (i32.const 0))
  (global $key_length (mut i32) (i32.const 0))
  (func $put_key (call $copy (global.get $key) (global.get $key_length)))

  (func $child (param $mark i32) (param $tame i32)
    (local $p i32) (local $i i32)
    (call $record)
    (local.set $p (call $put_value))
    (i32.store8 offset=$CHILD (local.get $p) (local.get $mark))
    (if (local.get $tame) (then
      (local.set $i (i32.const $STAGE))
      (block $done (loop $more
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $done (i32.ge_u (local.get $i) (i32.const $CHILD)))
        (i32.store8 (i32.add (local.get $p) (local.get $i)) (i32.const 0x6b))
        (br $more)))))
    (call $put (i32.const 0xc0)))

  (func $hog (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))))
  (func $deep (result i32) (i32.add (call $deep) (i32.const 1)))

  (func $misbehave (param $c i32) (param $index i32)
    (if (i32.eq (local.get $c) (i32.const 0x55)) (then (global.set $poison (i32.const 1)) unreachable))                                   ;; U
    (if (i32.eq (local.get $c) (i32.const 0x4c)) (then (global.set $poison (i32.const 1)) (loop $ever (call $tick (i32.const 5)) (br $ever)))) ;; L
    (if (i32.eq (local.get $c) (i32.const 0x53)) (then (global.set $poison (i32.const 1)) (drop (call $deep))))                           ;; S
    (if (i32.eq (local.get $c) (i32.const 0x4d)) (then (global.set $poison (i32.const 1)) (call $hog) unreachable))                       ;; M
    (if (i32.eq (local.get $c) (i32.const 0x46)) (then (global.set $poison (i32.const 1))                                                 ;; F
      (call $fail (i32.const 32) (i32.const 6) (i32.const 38) (i32.const 7))))
    (if (i32.eq (local.get $c) (i32.const 0x57)) (then (global.set $poison (i32.const 1))                                                 ;; W
      (i32.store (i32.const 16) (i32.add (local.get $index) (i32.const 1))) unreachable))
    (if (i32.eq (local.get $c) (i32.const 0x56)) (then (global.set $poison (i32.const 1)) (i32.store (i32.const 16) (i32.const 0)) unreachable))   ;; V
    (if (i32.eq (local.get $c) (i32.const 0x4e)) (then (global.set $poison (i32.const 1)) (i32.store (i32.const 16) (i32.const -1)) unreachable))  ;; N
    (if (i32.eq (local.get $c) (i32.const 0x73)) (then (call $tick (i32.const 8))))                                                       ;; s
    (if (i32.eq (local.get $c) (i32.const 0x6d))                                                                                          ;; m
      (then (if (i32.eq (memory.grow (i32.const 14)) (i32.const -1)) (then (global.set $poison (i32.const 1)) unreachable)))))

  (func $answer (param $c i32)
    (local $p i32)
    (if (global.get $poison) (then
      (call $put (i32.const 0x92)) (call $put (i32.const 1)) (call $put (i32.const 0xc4)) (call $put (i32.const 1)) (call $put (i32.const 0x58)) (return)))
    (if (i32.eq (local.get $c) (i32.const 0x64)) (then (call $put (i32.const 0x91)) (call $put (i32.const 0)) (return)))                  ;; d
    (if (i32.eq (local.get $c) (i32.const 0x6e)) (then (call $emit (i32.const 0)) (return)))                                              ;; n
    (if (i32.eq (local.get $c) (i32.const 0x72)) (then                                                                                    ;; r
      (call $put (i32.const 0x92)) (call $put (i32.const 1))
      (local.set $p (call $put_value))
      (i32.store8 (i32.add (local.get $p) (i32.const $REPLACED)) (i32.const 0x52)) (return)))
    (if (i32.eq (local.get $c) (i32.const 0x7a)) (then                                                                                    ;; z
      (call $put (i32.const 0x92)) (call $put (i32.const 1)) (call $put (i32.const 0xc0)) (return)))
    (if (i32.eq (local.get $c) (i32.const 0x74)) (then                                                                                    ;; t
      (call $emit (i32.const 1)) (call $put (i32.const 0x94)) (call $put (i32.const 0xa5)) (call $copy (i32.const 45) (i32.const 5))
      (call $put_key) (drop (call $put_value)) (call $put (i32.const 0xc0)) (return)))
    (if (i32.eq (local.get $c) (i32.const 0x66)) (then                                                                                    ;; f
      (call $emit (i32.const 1)) (call $put (i32.const 0x94)) (call $put (i32.const 0xa7)) (call $copy (i32.const 50) (i32.const 7))
      (call $put_key) (drop (call $put_value)) (call $put (i32.const 0xc0)) (return)))
    (if (i32.eq (local.get $c) (i32.const 0x79)) (then                                                                                    ;; y
      (call $emit (i32.const 1)) (call $put (i32.const 0x94)) (call $put (i32.const 0xc0))
      (call $put (i32.const 0xc4)) (call $put (i32.const 5)) (call $copy (i32.const 57) (i32.const 5))
      (drop (call $put_value)) (call $put (i32.const 0xc0)) (return)))
    (if (i32.eq (local.get $c) (i32.const 0x65)) (then                                                                                    ;; e
      (call $emit (i32.const 2)) (call $child (i32.const 0x31) (i32.const 0)) (call $child (i32.const 0x32) (i32.const 1)) (return)))
    (if (i32.eq (local.get $c) (i32.const 0x45)) (then                                                                                    ;; E
      (call $emit (i32.const 2)) (call $child (i32.const 0x32) (i32.const 1)) (call $child (i32.const 0x31) (i32.const 0)) (return)))
    (if (i32.eq (local.get $c) (i32.const 0x6a)) (then                                                                                    ;; j
      (call $put (i32.const 0x93)) (call $put (i32.const 3)) (call $put (i32.const 0xa6)) (call $copy (i32.const 32) (i32.const 6))
      (call $put (i32.const 0xa7)) (call $copy (i32.const 38) (i32.const 7)) (return)))
    (if (i32.eq (local.get $c) (i32.const 0x23)) (then (call $put (i32.const 0xa1)) (call $put (i32.const 0x21)) (return)))               ;; #
    (if (i32.eq (local.get $c) (i32.const 0x39)) (then                                                                                    ;; 9
      (call $put (i32.const 0x92)) (call $put (i32.const 1)) (call $put (i32.const 0xc5)) (call $put (i32.const 4)) (call $put (i32.const 0xb0))
      (memory.fill (global.get $out) (i32.const 0x78) (i32.const 1200))
      (global.set $out (i32.add (global.get $out) (i32.const 1200))) (return)))
    (call $put (i32.const 0xc0)))

  ;; as $event, and notes where the key is (with its msgpack head)
  (func $next
    (local $b i32)
    (drop (call $array))
    (call $skip (i32.const 2))
    (global.set $key (global.get $at))
    (call $skip (i32.const 1))
    (global.set $key_length (i32.sub (global.get $at) (global.get $key)))
    (global.set $value (i32.const 0))
    (global.set $length (i32.const 0))
    (local.set $b (call $number (i32.const 1)))
    (if (i32.ne (local.get $b) (i32.const 0xc0)) (then
      (global.set $length (call $number (i32.shl (i32.const 1) (i32.sub (local.get $b) (i32.const 0xc4)))))
      (global.set $value (global.get $at))
      (call $advance (global.get $length))))
    (call $skip (i32.const 1)))

  (func (export "penstock_v1_transform") (param $frame i32) (param i32) (result i64)
    (local $n i32) (local $i i32) (local $c i32)
    (global.set $at (local.get $frame))
    (drop (call $array))
    (call $skip (i32.const 1))
    (local.set $n (call $array))
    (global.set $start (call $bump (i32.add (i32.const 64) (i32.mul (local.get $n) (i32.const 1400)))))
    (if (i32.eqz (global.get $start)) (then unreachable))
    (global.set $out (global.get $start))
    (call $put (i32.const 0xdd))
    (call $put_u32 (local.get $n))
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (global.set $seen (i32.add (global.get $seen) (local.get $n)))
    (if (i32.and (i32.eq (i32.const $MODE) (i32.const 0)) (i32.gt_u (global.get $calls) (i32.const 1))) (then (global.set $poison (i32.const 1))))
    (if (i32.and (i32.eq (i32.const $MODE) (i32.const 1)) (i32.gt_u (global.get $seen) (i32.const 1))) (then (global.set $poison (i32.const 1))))
    (block $done (loop $more
      (br_if $done (i32.eq (local.get $i) (local.get $n)))
      (i32.store (i32.const 16) (local.get $i))
      (call $next)
      (local.set $c (call $byte (i32.const $STAGE)))
      (call $misbehave (local.get $c) (local.get $i))
      (call $answer (local.get $c))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $more)))
    (call $finish)))
