// Exact decimal numbers: a sign, 128 bits of magnitude, and a scale. Nothing goes through a double.

export const enum ParseError { None, Invalid, TooLarge }

/** Digits behind the point that are still exact: every power of ten up to it fits. */
const SCALE_MAX: i64 = 38;
const DIGITS_MAX = 96;
const digits = memory.data(DIGITS_MAX);

/** `±(high × 2^64 + low) × 10^-scale`. The methods change it in place: numbers are made once and used again. */
@final export class Decimal {
  isNegative: bool = false;
  high: u64 = 0;
  low: u64 = 0;
  scale: i32 = 0;

  get isZero(): bool { return !(this.high | this.low); }

  set(other: Decimal): void {
    this.isNegative = other.isNegative;
    this.high = other.high;
    this.low = other.low;
    this.scale = other.scale;
  }

  /** Reads `-12.50`, `12`, `1.25e3`. Keeps trailing zeros: they are the column's scale. */
  parse(at: usize, end: usize): ParseError {
    this.high = this.low = 0;
    let exponent: i64 = 0;
    let mantissa = at;
    while (mantissa < end && (load<u8>(mantissa) | 0x20) != 0x65) mantissa++;
    if (mantissa < end) {
      const error = readExponent(mantissa + 1, end);
      if (error != ParseError.None) return error;
      exponent = exponentRead;
    }
    const isNegative = at < mantissa && load<u8>(at) == 0x2d;
    if (isNegative) at++;
    let point = at;
    while (point < mantissa && load<u8>(point) != 0x2e) point++;
    const fraction = point < mantissa ? point + 1 : point;
    if (point == at || (point < mantissa && fraction == mantissa)) return ParseError.Invalid;
    let error = this.addDigits(at, point);
    if (error == ParseError.None) error = this.addDigits(fraction, mantissa);
    if (error != ParseError.None) return error;
    this.isNegative = isNegative && !this.isZero;
    return this.rescale(<i64>(mantissa - fraction) - exponent);
  }

  private addDigits(at: usize, end: usize): ParseError {
    for (let byte = at; byte < end; byte++) {
      if (<u32>load<u8>(byte) - 0x30 > 9) return ParseError.Invalid;
    }
    for (; at < end; at++) {
      if (!this.timesTen(load<u8>(at) - 0x30)) return ParseError.TooLarge;
    }
    return ParseError.None;
  }

  private rescale(scale: i64): ParseError {
    if (this.isZero) {
      this.scale = <i32>min(max(scale, 0), SCALE_MAX);
      return ParseError.None;
    }
    if (scale > SCALE_MAX) return ParseError.TooLarge;
    for (let left = -scale; left > 0; left--) {
      if (!this.timesTen(0)) return ParseError.TooLarge;
    }
    this.scale = <i32>max(scale, 0);
    return ParseError.None;
  }

  /** × 10 + digit; false when 127 bits do not hold it. */
  private timesTen(digit: u64): bool {
    if (!this.high && this.low < 1844674407370955161) {
      this.low = this.low * 10 + digit;
      return true;
    }
    const bottom = (this.low & 0xffffffff) * 10 + digit;
    const middle = (this.low >> 32) * 10 + (bottom >> 32);
    if (this.high > 922337203685477580) return false;
    const high = this.high * 10 + (middle >> 32);
    this.low = middle << 32 | (bottom & 0xffffffff);
    this.high = high;
    return high >> 63 == 0;
  }

  /** ÷ 10; the remainder. */
  private overTen(): u64 {
    if (!this.high) {
      const rest = this.low % 10;
      this.low /= 10;
      return rest;
    }
    const top = this.high % 10;
    this.high /= 10;
    const middle = top << 32 | this.low >> 32;
    const bottom = middle % 10 << 32 | (this.low & 0xffffffff);
    this.low = middle / 10 << 32 | bottom / 10;
    return bottom % 10;
  }

  /** Becomes the exact product; false when it has more digits than 128 bits, signed, hold. */
  times(other: Decimal): bool {
    this.scale += other.scale;
    const isNegative = this.isNegative != other.isNegative;
    if (this.high | other.high) {
      if (this.high && other.high) return false;
      const wide = this.high ? this : other;
      const narrow = this.high ? other.low : this.low;
      const wideLow = wide.low;
      const top = wide.high;
      multiply(top, narrow);
      if (productHigh) return false;
      const carried = productLow;
      multiply(wideLow, narrow);
      const high = productHigh + carried;
      if (high < carried) return false;
      this.high = high;
      this.low = productLow;
    } else {
      multiply(this.low, other.low);
      this.high = productHigh;
      this.low = productLow;
    }
    this.isNegative = isNegative && !this.isZero;
    return this.high >> 63 == 0 || (this.isNegative && this.high == 1 << 63 && !this.low);
  }

  /** Becomes hundredths, halves rounded away from zero; false when they do not fit 64 bits. */
  toHundredths(): bool {
    for (; this.scale < 2; this.scale++) {
      if (!this.isZero && !this.timesTen(0)) return false;
    }
    let dropped: u64 = 0;
    for (; this.scale > 2; this.scale--) dropped = this.overTen();
    if (dropped >= 5 && !++this.low) this.high++;
    return !this.high && this.low <= <u64>i64.MAX_VALUE + <u64>this.isNegative;
  }

  /** The number, when it has no digits behind the point and fits. */
  get integer(): i64 { return this.isNegative ? <i64>(0 - this.low) : <i64>this.low; }

  /** Whether it is the larger one. Changes neither. */
  exceeds(other: Decimal): bool {
    if (this.isNegative != other.isNegative) return other.isNegative;
    const larger = this.magnitudeOver(other);
    return this.isNegative ? larger < 0 : larger > 0;
  }

  /** -1, 0 or 1: how the magnitudes compare. */
  private magnitudeOver(other: Decimal): i32 {
    left.set(this);
    right.set(other);
    while (left.scale < right.scale) {
      if (!left.isZero && !left.timesTen(0)) return 1;
      left.scale++;
    }
    while (right.scale < left.scale) {
      if (!right.isZero && !right.timesTen(0)) return -1;
      right.scale++;
    }
    if (left.high != right.high) return left.high > right.high ? 1 : -1;
    return left.low == right.low ? 0 : left.low > right.low ? 1 : -1;
  }

  /** Puts the number's text down: all digits of its scale, at least one before the point. Where it begins; it ends at `textEnd`. */
  text(): usize {
    left.set(this);
    let at = textEnd;
    for (let written = 0; written <= this.scale || !left.isZero; written++) {
      if (written == this.scale && written) store<u8>(--at, 0x2e);
      store<u8>(--at, <u8>(0x30 + left.overTen()));
    }
    if (this.isNegative) store<u8>(--at, 0x2d);
    return at;
  }

  toString(): string {
    const start = this.text();
    return String.UTF8.decodeUnsafe(start, textEnd - start);
  }
}

/** Where every number's text ends, until the next is put down. */
export const textEnd: usize = digits + DIGITS_MAX;
const left = new Decimal();
const right = new Decimal();

let exponentRead: i64 = 0;

function readExponent(at: usize, end: usize): ParseError {
  const sign = at < end ? load<u8>(at) : 0;
  if (sign == 0x2b || sign == 0x2d) at++;
  if (at == end) return ParseError.Invalid;
  let number: i64 = 0;
  for (; at < end; at++) {
    const digit = <u32>load<u8>(at) - 0x30;
    if (digit > 9) return ParseError.Invalid;
    if (number <= i32.MAX_VALUE) number = number * 10 + digit;
  }
  if (number > i32.MAX_VALUE) return ParseError.TooLarge;
  exponentRead = sign == 0x2d ? -number : number;
  return ParseError.None;
}

let productHigh: u64 = 0;
let productLow: u64 = 0;

/** 64 × 64 bits. */
function multiply(one: u64, other: u64): void {
  const a = one >> 32, b = one & 0xffffffff, c = other >> 32, d = other & 0xffffffff;
  const low = b * d;
  const middle = a * d + (low >> 32);
  const cross = b * c + (middle & 0xffffffff);
  productHigh = a * c + (middle >> 32) + (cross >> 32);
  productLow = cross << 32 | (low & 0xffffffff);
}
