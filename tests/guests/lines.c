/* Divides by zero on line 5; tests/guests/lines.wasm is this file, built with debug information. */
__attribute__((export_name("divide"))) int divide(int a, int b);
int divide(int a, int b) {
  int quotient;
  quotient = a / b;
  return quotient;
}
/* zig cc -target wasm32-freestanding -O1 -g -nostdlib -ffile-prefix-map=$PWD=. -fdebug-compilation-dir=. -Wl,--no-entry -o lines.wasm lines.c */
