;; Procedures (docs/sql.md), each a few lines: what they answer is in their names. Answers lie at fixed addresses, arguments from 64 KiB on.
(module
  (import "test" "tick" (func $tick (param i32)))
  (memory (export "memory") 4)
  (global $top (mut i32) (i32.const 65536))
  (data (i32.const 1024) "\93\03\a3bad\a8no\00 good")       ;; [3, "bad", "no\0 good"]
  (data (i32.const 1056) "\92\00\c0")                        ;; [0, nil]
  (data (i32.const 1072) "\92\00\81\a6status\a7checked")     ;; [0, {status: checked}]
  (data (i32.const 1104) "\92\00\c0\c0")                     ;; bytes behind the end
  (data (i32.const 1120) "\92\00\d6\ff\00\00\00\00")         ;; a timestamp, an extension type
  (data (i32.const 1136) "\92\00\81\01\02")                  ;; {1: 2}
  (data (i32.const 1152) "\92\00\df\ff\ff\ff\ff")            ;; a map that claims 2^32 - 1 members
  (data (i32.const 1168) "\92\00\cf\ff\ff\ff\ff\ff\ff\ff\ff") ;; 2^64 - 1
  (data (i32.const 1184) "\92\00\cb\7f\f8\00\00\00\00\00\00") ;; NaN
  (data (i32.const 1200) "\92\00\d3\80\00\00\00\00\00\00\00") ;; -2^63
  (data (i32.const 1216) "\92\00\81\a5total\2a")             ;; [0, {total: 42}]
  (data (i32.const 1232) "\92\00\81\a7missing\2a")           ;; [0, {missing: 42}]
  (data (i32.const 1248) "\92\00\82\a5total\2a\a6status\c4\02\00\ff") ;; [0, {total: 42, status: bytes}]
  (data (i32.const 1280) "\92\00\a3a\00b")                   ;; a text with a NUL
  (data (i32.const 1296) "\92\00\81\a5total\92\01\02")       ;; [0, {total: [1, 2]}]
  (func $give (param $at i32) (param $size i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $size))))
  (func (export "penstock_v1_alloc") (param $size i32) (result i32)
    (local $at i32) (local $need i32)
    (local.set $at (global.get $top))
    (global.set $top (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.set $need (i32.sub (i32.shr_u (i32.add (global.get $top) (i32.const 65535)) (i32.const 16)) (memory.size)))
    (if (i32.gt_s (local.get $need) (i32.const 0))
      (then (if (i32.eq (memory.grow (local.get $need)) (i32.const -1)) (then (return (i32.const 0))))))
    (local.get $at))
  ;; [0, arguments]: two bytes in front of what came, which alloc left free
  (func (export "echo") (param $at i32) (param $size i32) (result i64)
    (i32.store16 (i32.sub (local.get $at) (i32.const 2)) (i32.const 0x0092))
    (call $give (i32.sub (local.get $at) (i32.const 2)) (i32.add (local.get $size) (i32.const 2))))
  ;; [0, first argument]: the array's head, of at most 15 arguments, is overwritten
  (func (export "first") (param $at i32) (param $size i32) (result i64)
    (i32.store8 (i32.sub (local.get $at) (i32.const 1)) (i32.const 0x92))
    (i32.store8 (local.get $at) (i32.const 0))
    (call $give (i32.sub (local.get $at) (i32.const 1)) (i32.add (local.get $size) (i32.const 1))))
  ;; the same as text, whatever it is: [0, bin8 of the arguments]
  (func (export "weigh") (param $at i32) (param $size i32) (result i64)
    (i32.store (i32.const 2048) (i32.const 0x00ce0092)) ;; 92 00 ce, then the size, big-endian
    (i32.store8 (i32.const 2051) (i32.shr_u (local.get $size) (i32.const 24)))
    (i32.store8 (i32.const 2052) (i32.shr_u (local.get $size) (i32.const 16)))
    (i32.store8 (i32.const 2053) (i32.shr_u (local.get $size) (i32.const 8)))
    (i32.store8 (i32.const 2054) (local.get $size))
    (call $give (i32.const 2048) (i32.const 7)))
  (func (export "refuse") (param i32 i32) (result i64) (call $give (i32.const 1024) (i32.const 15)))
  (func (export "approve") (param i32 i32) (result i64) (call $give (i32.const 1056) (i32.const 3)))
  (func (export "check") (param i32 i32) (result i64) (call $give (i32.const 1072) (i32.const 18)))
  (func (export "trailing") (param i32 i32) (result i64) (call $give (i32.const 1104) (i32.const 4)))
  (func (export "timestamp") (param i32 i32) (result i64) (call $give (i32.const 1120) (i32.const 8)))
  (func (export "numbered") (param i32 i32) (result i64) (call $give (i32.const 1136) (i32.const 5)))
  (func (export "boast") (param i32 i32) (result i64) (call $give (i32.const 1152) (i32.const 7)))
  (func (export "huge") (param i32 i32) (result i64) (call $give (i32.const 1168) (i32.const 11)))
  (func (export "nan") (param i32 i32) (result i64) (call $give (i32.const 1184) (i32.const 11)))
  (func (export "least") (param i32 i32) (result i64) (call $give (i32.const 1200) (i32.const 11)))
  (func (export "reprice") (param i32 i32) (result i64) (call $give (i32.const 1216) (i32.const 10)))
  (func (export "invent") (param i32 i32) (result i64) (call $give (i32.const 1232) (i32.const 12)))
  (func (export "replace") (param i32 i32) (result i64) (call $give (i32.const 1248) (i32.const 21)))
  (func (export "nul") (param i32 i32) (result i64) (call $give (i32.const 1280) (i32.const 6)))
  (func (export "listed") (param i32 i32) (result i64) (call $give (i32.const 1296) (i32.const 12)))
  (func (export "outside") (param i32 i32) (result i64) (call $give (i32.const -8) (i32.const 64)))
  (func (export "far") (param i32 i32) (result i64) (i64.load (i32.const -16)))
  (func (export "empty") (param i32 i32) (result i64) (i64.const 0))
  (func (export "claim") (param i32 i32) (result i64) (call $give (i32.const 0) (i32.const 0x7fffffff)))
  (func (export "crash") (param i32 i32) (result i64) unreachable)
  (func $deep (export "deep") (param i32 i32) (result i64) (i64.add (call $deep (i32.const 0) (i32.const 0)) (i64.const 1)))
  (func (export "late") (param i32 i32) (result i64) (call $tick (i32.const 1000)) (call $give (i32.const 1056) (i32.const 3)))
  (func (export "loop") (param i32 i32) (result i64) (loop $ever (call $tick (i32.const 10)) (br $ever)) (i64.const 0))
  (func (export "hog") (param i32 i32) (result i64)
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable)
  ;; the bytes of its only argument, a bin32, as they are
  (func (export "say") (param $at i32) (param $size i32) (result i64)
    (call $give (i32.add (local.get $at) (i32.const 6)) (i32.sub (local.get $size) (i32.const 6))))
  ;; 100 arrays, one in the other
  (func (export "nested") (param i32 i32) (result i64)
    (local $at i32)
    (i32.store16 (i32.const 4096) (i32.const 0x0092))
    (local.set $at (i32.const 4098))
    (loop $more
      (i32.store8 (local.get $at) (i32.const 0x91))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $at) (i32.const 4198))))
    (i32.store8 (local.get $at) (i32.const 0xc0))
    (call $give (i32.const 4096) (i32.const 103))))
