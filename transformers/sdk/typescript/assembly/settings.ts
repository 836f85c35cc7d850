// The registry entry's `config`, read key by key. What does not fit is refused with its key, and so is a key nobody asked for.
import { Reader, Token } from "./msgpack";
import { fail } from "./host/fail";
import { same } from "./row";

/** The configuration: read every key that may be there, whether it is or not. */
@final export class Settings {
  private known: string[] = [];
  private reader: Reader = new Reader();

  constructor(private start: usize, private end: usize) {}

  /** A text; `otherwise` when the key is absent. */
  text(key: string, otherwise: string | null = null): string | null {
    if (!this.seek(key)) return otherwise;
    if (this.reader.peek() != Token.Text) this.refuse(key, "a text was expected");
    this.reader.text();
    return this.reader.string();
  }

  /** A list of texts; empty when the key is absent. */
  texts(key: string): string[] {
    const texts = new Array<string>();
    if (!this.seek(key)) return texts;
    if (this.reader.peek() != Token.Array) this.refuse(key, "a list of texts was expected");
    for (let left = this.reader.array(), at = 0; left; left--, at++) {
      if (this.reader.peek() != Token.Text) this.refuse(`${key}[${at}]`, "a text was expected");
      this.reader.text();
      texts.push(this.reader.string());
    }
    return texts;
  }

  /** An integer; `otherwise` when the key is absent. */
  integer(key: string, otherwise: i64 = 0): i64 {
    if (!this.seek(key)) return otherwise;
    if (this.reader.peek() != Token.Integer) this.refuse(key, "an integer was expected");
    return this.reader.integer();
  }

  /** True or false; `otherwise` when the key is absent. */
  boolean(key: string, otherwise: bool = false): bool {
    if (!this.seek(key)) return otherwise;
    if (this.reader.peek() != Token.Boolean) this.refuse(key, "true or false was expected");
    return this.reader.boolean();
  }

  /** A decimal in quotes, or an integer: its digits. Floating-point numbers are refused: they may not be what was written. */
  digits(key: string): string | null {
    if (!this.seek(key)) return null;
    const token = this.reader.peek();
    if (token == Token.Integer) return this.reader.integer().toString();
    if (token != Token.Text) this.refuse(key, "a decimal number in quotes, such as \"10000.00\", was expected");
    this.reader.text();
    return this.reader.string();
  }

  /** Refuses the configuration: the operator reads `key: problem`. */
  refuse(key: string, problem: string): void {
    fail("config", `${key}: ${problem}`);
  }

  /** Refuses keys that were never asked for. */
  finish(): void {
    const reader = this.reader.set(this.start, this.end);
    for (let left = reader.map(); left && !reader.bad; left--) {
      reader.text();
      const key = reader.string();
      if (!this.known.includes(key)) {
        fail("config", `unknown field \`${key}\`, expected ${this.known.length ? this.known.join(", ") : "none"}`);
      }
      reader.skip();
    }
    if (!reader.atEnd) fail("config", "not msgpack as the host writes it");
  }

  /** Goes to a key's value; false when it is absent or null. */
  private seek(key: string): bool {
    this.known.push(key);
    const reader = this.reader.set(this.start, this.end);
    for (let left = reader.map(); left && !reader.bad; left--) {
      reader.text();
      if (same(reader.start, <u32>reader.size, key)) return reader.peek() != Token.Nil;
      reader.skip();
    }
    return false;
  }
}
