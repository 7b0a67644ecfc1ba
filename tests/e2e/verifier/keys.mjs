// Ed25519 keys: which are sound (step 6), and what they verify (step 9).
//
// OpenSSL, which Node verifies with, takes points of small order, under which one signature fits every message.
// So the points are looked at here, by RFC 8032 sections 5.1.3 and 5.1.4.

import { createPublicKey, verify } from "node:crypto";

import { decodeBase58 } from "./encoding.mjs";

const P = 2n ** 255n - 19n;
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const D = mod(-121665n * power(121666n, P - 2n));
const ROOT_OF_MINUS_ONE = power(2n, (P - 1n) / 4n);
const NEUTRAL = [0n, 1n, 1n, 0n];
const SPKI = Buffer.from("302a300506032b6570032100", "hex");

function mod(number) {
  const rest = number % P;
  return rest < 0n ? rest + P : rest;
}

function power(base, exponent) {
  let result = 1n;
  for (let square = mod(base), left = exponent; left > 0n; left >>= 1n, square = mod(square * square)) {
    if (left & 1n) result = mod(result * square);
  }
  return result;
}

// The 32 bytes of a Multikey of Ed25519 (FEP-521a), null for any other.
export function decodeMultikey(text) {
  const bytes = decodeBase58(text, 64);
  return bytes?.length === 34 && bytes[0] === 0xed && bytes[1] === 0x01 ? bytes.subarray(2) : null;
}

export function isSound(raw) {
  const point = findPoint(raw);
  return point !== null && !isNeutral(multiply(8n, point)) && isNeutral(multiply(ORDER, point));
}

export function isSignedBy(raw, signature, data) {
  const key = createPublicKey({ key: Buffer.concat([SPKI, raw]), format: "der", type: "spki" });
  return verify(null, data, key, signature);
}

function findPoint(raw) {
  const number = BigInt(`0x${Buffer.from(raw).reverse().toString("hex")}`);
  const sign = number >> 255n;
  const y = number & (2n ** 255n - 1n);
  if (y >= P) return null;
  const u = mod(y * y - 1n);
  const v = mod(D * y * y + 1n);
  let x = mod(u * power(v, 3n) * power(u * power(v, 7n), (P - 5n) / 8n));
  if (mod(v * x * x) === mod(-u)) x = mod(x * ROOT_OF_MINUS_ONE);
  if (mod(v * x * x) !== u || (x === 0n && sign === 1n)) return null;
  if ((x & 1n) !== sign) x = P - x;
  return [x, y, 1n, mod(x * y)];
}

function add(left, right) {
  const a = mod((left[1] - left[0]) * (right[1] - right[0]));
  const b = mod((left[1] + left[0]) * (right[1] + right[0]));
  const c = mod(2n * left[3] * right[3] * D);
  const d = mod(2n * left[2] * right[2]);
  const [e, f, g, h] = [b - a, d - c, d + c, b + a];
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}

function multiply(scalar, point) {
  let result = NEUTRAL;
  for (let left = scalar, double = point; left > 0n; left >>= 1n, double = add(double, double)) {
    if (left & 1n) result = add(result, double);
  }
  return result;
}

function isNeutral(point) {
  return point[0] === 0n && point[1] === point[2];
}
