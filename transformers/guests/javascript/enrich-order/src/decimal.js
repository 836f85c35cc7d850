// Exact decimal numbers: `units × 10^-scale`. Nothing goes through a double.

const UNITS_MAX = 2n ** 127n - 1n;
const SCALE_MAX = 38;
const DECIMAL = /^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/;

/** The number that the text is; null when it is none, "overflow" when it has too many digits. */
export function parse(text) {
  const found = DECIMAL.exec(text);
  if (!found) return null;
  const [, sign, whole, fraction = "", exponent = "0"] = found;
  const magnitude = BigInt(whole + fraction);
  let scale = fraction.length - Number(exponent);
  if (magnitude === 0n) return { units: 0n, scale: Math.min(Math.max(scale, 0), SCALE_MAX) };
  if (scale > SCALE_MAX || scale < -SCALE_MAX) return "overflow";
  const units = magnitude * 10n ** BigInt(Math.max(-scale, 0));
  if (units > UNITS_MAX) return "overflow";
  scale = Math.max(scale, 0);
  return { units: sign ? -units : units, scale };
}

/** All digits of its scale, at least one before the point. */
export function format({ units, scale }) {
  const sign = units < 0n ? "-" : "";
  const digits = String(units < 0n ? -units : units).padStart(scale + 1, "0");
  const point = digits.length - scale;
  return scale ? `${sign}${digits.slice(0, point)}.${digits.slice(point)}` : sign + digits;
}

/** The exact product; null when it has too many digits. */
export function times(one, other) {
  const units = one.units * other.units;
  return units > UNITS_MAX || units < -UNITS_MAX ? null : { units, scale: one.scale + other.scale };
}

/** Hundredths, halves rounded away from zero; null when they do not fit 64 bits. */
export function hundredths({ units, scale }) {
  let cents;
  if (scale <= 2) {
    cents = units * 10n ** BigInt(2 - scale);
  } else {
    const divisor = 10n ** BigInt(scale - 2);
    const half = divisor / 2n;
    cents = (units + (units < 0n ? -half : half)) / divisor;
  }
  return cents === BigInt.asIntN(64, cents) ? cents : null;
}

/** Whether one is larger than the other. */
export function exceeds(one, other) {
  const scale = Math.max(one.scale, other.scale);
  return one.units * 10n ** BigInt(scale - one.scale) > other.units * 10n ** BigInt(scale - other.scale);
}
