// Multibase, multihash, times and origins, each in its one spelling; null for anything else.

const DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

// Multibase base58btc. The bound comes first, because decoding is quadratic.
export function decodeBase58(text, maxChars) {
  if (typeof text !== "string" || text.length > maxChars || text[0] !== "z") return null;
  let number = 0n;
  for (const digit of text.slice(1)) {
    const value = DIGITS.indexOf(digit);
    if (value < 0) return null;
    number = number * 58n + BigInt(value);
  }
  const zeros = text.slice(1).match(/^1*/)[0].length;
  const hex = number === 0n ? "" : number.toString(16);
  return Buffer.concat([Buffer.alloc(zeros), Buffer.from(hex.length % 2 ? `0${hex}` : hex, "hex")]);
}

// A sha2-256 multihash in multibase base58btc: 47 characters, 0x12 0x20 and 32 bytes.
export function decodeDigest(text) {
  const bytes = typeof text === "string" && text.length === 47 ? decodeBase58(text, 47) : null;
  return bytes?.length === 34 && bytes[0] === 0x12 && bytes[1] === 0x20 ? bytes.subarray(2) : null;
}

// Multibase base64url without padding, of exactly so many bytes.
export function decodeBase64Url(text, size) {
  if (typeof text !== "string" || !/^u[A-Za-z0-9_-]*$/.test(text)) return null;
  const bytes = Buffer.from(text.slice(1), "base64url");
  return bytes.length === size && `u${bytes.toString("base64url")}` === text ? bytes : null;
}

// Standard base64 with its padding and without loose ends.
export function decodeBase64(text) {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : null;
}

// YYYY-MM-DDTHH:MM:SSZ, in seconds since the epoch.
export function parseTime(text) {
  const match = typeof text === "string" ? /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z$/.exec(text) : null;
  if (match === null || match[1] === "0000") return null;
  const milliseconds = Date.parse(text);
  // What is on no calendar is either no date to Date, or another one (the 31st of November, the hour 24).
  if (Number.isNaN(milliseconds) || new Date(milliseconds).toISOString() !== `${text.slice(0, -1)}.000Z`) return null;
  return milliseconds / 1000;
}

const PATH = "[!$%&'()*+,\\-./0-9:;=?@A-Z_a-z~]*";
const URL_FORM = new RegExp(
  `^https://([a-z0-9-]+(?:\\.[a-z0-9-]+)*|\\[[0-9a-f:]+\\])(:[1-9][0-9]{0,4})?(?:/${PATH})?(?:#${PATH})?$`,
);

// Scheme, host and port of an https URL in its plain form.
export function originOf(url) {
  const match = typeof url === "string" && url.length <= 2048 ? URL_FORM.exec(url) : null;
  if (match === null || url.endsWith("\n") || match[2] === ":443") return null;
  return `https://${match[1]}${match[2] ?? ""}`;
}
