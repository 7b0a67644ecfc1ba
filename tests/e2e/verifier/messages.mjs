// Verify signed requests and answers of the peer API: RFC 9421 with Ed25519 in the profile of FASP.
//
// Only the form that the profile prints is read: one signature, plain components, parameters that are integers or
// strings. A general parser of structured fields would be longer than everything else here.

import { createHash } from "node:crypto";

import { decodeBase64 } from "./encoding.mjs";
import { decodeMultikey, isSignedBy, isSound } from "./keys.mjs";
import { Malformed, Refusal } from "./refusal.mjs";

const FRESH = 5 * 60;
const INPUT = /^([a-z][a-z0-9]*)=(\(("[a-z@-]+"(?: "[a-z@-]+")*)\)((?:;[a-z]+=(?:[0-9]+|"[^"\\]*"))*))$/;

export function verifyMessage(kind, message, key, now) {
  const input = find(message, "signature-input");
  const value = find(message, "signature");
  if (input === null || value === null) refuse("no_signature", "not signed");
  const [, label, parameters, names, rest] = INPUT.exec(input) ?? malformed("Signature-Input");
  const signature = decodeBase64(new RegExp(`^${label}=:(.*):$`).exec(value)?.[1] ?? malformed("Signature"));
  const covered = names.split(" ").map((name) => name.slice(1, -1));
  const known = Object.fromEntries([...rest.matchAll(/;([a-z]+)=("?)([^";]*)\2/g)].map((one) => [one[1], one[3]]));
  if (known.keyid !== key.id) refuse("wrong_key", "another key id");
  requireCoverage(kind, covered, known);
  const created = Number(known.created);
  if (created < now - FRESH) refuse("stale", "signed too long ago");
  if (created > now + FRESH) refuse("future", "signed in the future");
  const raw = decodeMultikey(key.multikey);
  if (raw === null || !isSound(raw)) refuse("key_refused", "not a sound Ed25519 key");
  const lines = covered.map((name) => `"${name}": ${component(message, name)}`);
  const base = [...lines, `"@signature-params": ${parameters}`].join("\n");
  if (signature?.length !== 64 || !isSignedBy(raw, signature, Buffer.from(base, "utf8"))) {
    refuse("bad_signature", "the signature is not over this message by this key");
  }
  const digest = createHash("sha256").update(message.body, "utf8").digest("base64");
  if (find(message, "content-digest") !== `sha-256=:${digest}:`) refuse("digest_mismatch", "another body");
}

function requireCoverage(kind, covered, known) {
  for (const name of kind === "request" ? ["@method", "@target-uri"] : ["@status"]) {
    if (!covered.includes(name)) refuse("missing_component", `${name} is not covered`);
  }
  if (known.created === undefined) refuse("missing_time", "no time is signed");
  if (!covered.includes("content-digest")) refuse("missing_digest", "content-digest is not covered");
}

function component(message, name) {
  const derived = { "@method": message.method, "@target-uri": message.targetUri, "@status": message.status };
  return name.startsWith("@") ? derived[name] : find(message, name);
}

function find(message, name) {
  const lines = message.headers.filter(([key]) => key.toLowerCase() === name);
  if (lines.length > 1) malformed(name);
  return lines[0]?.[1] ?? null;
}

function refuse(reason, detail) {
  throw new Refusal(0, reason, detail);
}

function malformed(name) {
  throw new Malformed(0, `${name} has another form`);
}
