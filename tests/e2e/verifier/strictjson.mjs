// JSON that every reader reads the same way: step 1 of the FEP's section "Verification", and RFC 8785.
//
// JSON.parse is not used: it lets the last of two equal keys win, rounds big integers and reads fractions.
// Objects become Maps, so that a member named `__proto__` is a member like any other.

import { Malformed } from "./refusal.mjs";

const MAX_BYTES = 8192;
const MAX_DEPTH = 8;
const STEP = 1;

export function parseObject(bytes) {
  if (bytes.length > MAX_BYTES) throw new Malformed(STEP, "more than 8,192 bytes");
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Malformed(STEP, "not UTF-8");
  }
  const reader = new Reader(text);
  const value = reader.readDocument();
  if (!(value instanceof Map)) throw new Malformed(STEP, "not an object");
  return value;
}

class Reader {
  constructor(text) {
    this.text = text;
    this.place = 0;
  }

  readDocument() {
    const value = this.readValue(0);
    this.skipBlanks();
    if (this.place !== this.text.length) this.fail("something after the object");
    return value;
  }

  fail(detail) {
    throw new Malformed(STEP, `${detail} at ${this.place}`);
  }

  skipBlanks() {
    while (" \t\n\r".includes(this.text[this.place] ?? "x")) this.place += 1;
  }

  take(pattern) {
    pattern.lastIndex = this.place;
    const found = pattern.exec(this.text);
    if (found !== null) this.place = pattern.lastIndex;
    return found?.[0];
  }

  readValue(depth) {
    this.skipBlanks();
    const next = this.text[this.place];
    if (next === "{" || next === "[") {
      if (depth >= MAX_DEPTH) this.fail("nested deeper than 8");
      this.place += 1;
      return next === "{" ? this.readMembers(depth + 1) : this.readElements(depth + 1);
    }
    if (next === '"') return this.readString();
    const word = this.take(/true|false|null/y);
    if (word !== undefined) return { true: true, false: false, null: null }[word];
    return this.readInteger();
  }

  readMembers(depth) {
    const members = new Map();
    if (this.takeSymbol("}")) return members;
    do {
      this.skipBlanks();
      if (this.text[this.place] !== '"') this.fail("a member without a name");
      const name = this.readString();
      if (members.has(name)) this.fail("a name twice");
      if (!this.takeSymbol(":")) this.fail("a name without a value");
      members.set(name, this.readValue(depth));
    } while (this.takeSymbol(","));
    if (!this.takeSymbol("}")) this.fail("an object that does not end");
    return members;
  }

  readElements(depth) {
    const elements = [];
    if (this.takeSymbol("]")) return elements;
    do elements.push(this.readValue(depth));
    while (this.takeSymbol(","));
    if (!this.takeSymbol("]")) this.fail("an array that does not end");
    return elements;
  }

  takeSymbol(symbol) {
    this.skipBlanks();
    if (this.text[this.place] !== symbol) return false;
    this.place += 1;
    return true;
  }

  readString() {
    const literal = this.take(/"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y);
    if (literal === undefined) this.fail("a string that is none");
    const value = JSON.parse(literal);
    if (!value.isWellFormed()) this.fail("half of a surrogate pair");
    return value;
  }

  readInteger() {
    const literal = this.take(/-?(?:0|[1-9][0-9]*)(?![0-9.eE])/y);
    if (literal === undefined) this.fail("neither a value nor an integer");
    const value = Number(literal);
    if (!Number.isSafeInteger(value)) this.fail("an integer beyond 2**53 - 1");
    return value;
  }
}

// RFC 8785 for what `parseObject` gives. JSON.stringify writes strings and integers as section 3.2.2 demands, and
// sort() orders names by UTF-16 code units (section 3.2.3).
export function canonicalize(value) {
  if (value instanceof Map) {
    const members = [...value.keys()].sort().map((name) => `${JSON.stringify(name)}:${canonicalize(value.get(name))}`);
    return `{${members.join(",")}}`;
  }
  if (Array.isArray(value)) return `[${value.map(canonicalize).join(",")}]`;
  return JSON.stringify(value);
}
