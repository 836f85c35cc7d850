;; Asks `penstock.NAME` for what each event's value says: room (u32, little-endian), times (u8), then the request. Its new value is the
;; last status (i32), how often it was -3, and as many bytes of the answer as `room` allows.
(module
  (import "penstock" "NAME" (func $ask (param i32 i32 i32 i32) (result i32)))
  (;include frame;)
  (func (export "penstock_v1_alloc") (param i32) (result i32) (call $bump (local.get 0)))
  (func (export "penstock_v1_transform") (param $frame i32) (param i32) (result i64)
    (local $n i32) (local $room i32) (local $times i32) (local $small i32) (local $status i32) (local $answer i32)
    (local.set $n (call $begin (local.get $frame)))
    (drop (call $bump (i32.const 65536)))
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $n)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (call $event)
      (local.set $room (i32.load (global.get $value)))
      (local.set $times (call $byte (i32.const 4)))
      (local.set $small (i32.const 0))
      (local.set $answer (call $bump (i32.add (local.get $room) (i32.const 8))))
      (loop $again
        (local.set $status (call $ask
          (i32.add (global.get $value) (i32.const 5)) (i32.sub (global.get $length) (i32.const 5)) (local.get $answer) (local.get $room)))
        (local.set $times (i32.sub (local.get $times) (i32.const 1)))
        (if (i32.eq (local.get $status) (i32.const -3)) (then
          (local.set $small (i32.add (local.get $small) (i32.const 1)))
          (if (i32.gt_s (local.get $times) (i32.const 0)) (then
            (local.set $room (i32.load (local.get $answer)))
            (local.set $answer (call $bump (i32.add (local.get $room) (i32.const 8))))))))
        (br_if $again (i32.gt_s (local.get $times) (i32.const 0))))
      (call $put (i32.const 0x92)) (call $put (i32.const 1)) (call $put (i32.const 0xc5))
      (call $put (i32.shr_u (i32.add (local.get $room) (i32.const 8)) (i32.const 8)))
      (call $put (i32.add (local.get $room) (i32.const 8)))
      (i32.store (global.get $out) (local.get $status))
      (i32.store offset=4 (global.get $out) (local.get $small))
      (memory.copy (i32.add (global.get $out) (i32.const 8)) (local.get $answer) (local.get $room))
      (global.set $out (i32.add (global.get $out) (i32.add (local.get $room) (i32.const 8))))
      (br $more)))
    (call $finish)))
