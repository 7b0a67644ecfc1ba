// The header `Media-Scan-Attestation`: one byte sequence of RFC 9651, without parameters.

import { decodeBase64 } from "./encoding.mjs";
import { Malformed } from "./refusal.mjs";

const MAX_CHARS = 10926;

export function parseField(value) {
  const match = /^[ \t]*:([A-Za-z0-9+/]+={0,2}):[ \t]*$/.exec(value);
  const isWhole = match !== null && match[1].length + 2 <= MAX_CHARS;
  const bytes = isWhole ? decodeBase64(match[1]) : null;
  if (bytes === null) throw new Malformed(0, "not one byte sequence");
  return bytes;
}
