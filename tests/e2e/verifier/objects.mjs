// Verify a signed object of the FEP, in the numbered steps of its section "Verification".

import { createHash } from "node:crypto";

import { decodeBase58, decodeBase64Url, decodeDigest, originOf, parseTime } from "./encoding.mjs";
import { decodeMultikey, isSignedBy, isSound } from "./keys.mjs";
import { Malformed, Refusal } from "./refusal.mjs";
import { canonicalize, parseObject } from "./strictjson.mjs";

const CONTEXT = JSON.stringify([
  "https://www.w3.org/ns/activitystreams",
  "https://w3id.org/security/data-integrity/v2",
  "https://w3id.org/fep/f06a",
]);
const TYPES = ["MediaScanAttestation", "MediaScanRevocation", "MediaScanAlert", "MediaScanDoubt"];
const MAX_AHEAD = 5 * 60;
const MAX_LIFE = 30 * 24 * 60 * 60;
const MEDIA_TYPE = /^(?:image|video|audio)\/[a-z0-9][a-z0-9.+-]{0,63}$/;
const CATEGORY = /^[a-z][a-z0-9-]{0,62}$/;
const SCOPES = ["attestation", "state", "profile", "key"];

// `keys`: [{actor, id, multikey, expires?, revoked?}]; `revocations`: [{issuer, scope, object, published}], verified
// before. `now` and `trustedTime` are seconds; `types` are those that the caller asks for. Throws a Refusal.
export function verifyObject(bytes, { keys, now, trustedTime = null, revocations = [], types = TYPES }) {
  const document = parseObject(bytes); // 1.
  const kind = requireTypeAndContext(document, types); // 2.
  const proof = requireProof(document); // 3.
  const ids = requireOrigin(document, proof); // 4.
  const times = requireMembers(document, proof, kind, ids.origin); // 5.
  const key = requireKey(keys, ids, now, trustedTime); // 6. and 7.
  requireWindow(kind, times, now); // 8.
  requireSignature(document, proof, key); // 9.
  if (kind === "MediaScanAttestation") requireStanding(document, ids, times, revocations, trustedTime); // 10.
}

function requireTypeAndContext(document, types) {
  const kind = document.get("type");
  if (!types.includes(kind)) throw new Refusal(2, "wrong_type", `not ${types.join(" or ")}`);
  if (!isContext(document.get("@context"))) throw new Refusal(2, "wrong_context", "not the three contexts");
  return kind;
}

function isContext(value) {
  return Array.isArray(value) && canonicalize(value) === CONTEXT;
}

function requireProof(document) {
  const proof = document.get("proof");
  if (!(proof instanceof Map)) throw new Refusal(3, "wrong_proof", "not exactly one proof");
  if (proof.get("type") !== "DataIntegrityProof" || proof.get("cryptosuite") !== "eddsa-jcs-2022") {
    throw new Refusal(3, "wrong_suite", "not a DataIntegrityProof of eddsa-jcs-2022");
  }
  if (proof.get("proofPurpose") !== "assertionMethod") throw new Refusal(3, "wrong_purpose", "another purpose");
  if (!isContext(proof.get("@context"))) throw new Refusal(3, "wrong_context", "not the context of the document");
  if (proof.has("expires")) throw new Refusal(3, "wrong_proof", "a proof with an end of its own");
  if (typeof proof.get("verificationMethod") !== "string") throw new Malformed(3, "no verificationMethod");
  return proof;
}

function requireOrigin(document, proof) {
  const ids = {
    id: document.get("id"),
    issuer: document.get("attributedTo"),
    method: proof.get("verificationMethod"),
  };
  const [origin, ...others] = Object.values(ids).map((url) => {
    const found = originOf(url);
    if (found === null) throw new Malformed(4, "an identifier that is not a plain https URL");
    return found;
  });
  if (others.some((other) => other !== origin)) throw new Refusal(4, "wrong_origin", "more than one origin");
  return { ...ids, origin };
}

function requireMembers(document, proof, kind, origin) {
  requireText(document, "to");
  const times = { published: requireTime(document, "published"), created: requireTime(proof, "created") };
  const signature = decodeBase58(proof.get("proofValue"), 89);
  if (signature?.length !== 64) throw new Malformed(5, "proofValue is not 64 bytes");
  if (kind === "MediaScanAttestation") return { ...times, ...requireAttestation(document) };
  if (kind === "MediaScanRevocation") requireRevocation(document, origin);
  if (kind === "MediaScanAlert") requireAlert(document);
  if (kind === "MediaScanDoubt") requireDoubt(document);
  return times;
}

function requireAttestation(document) {
  if (document.get("verdict") !== "no-match") throw new Refusal(5, "unsupported_claim", "another verdict");
  if (document.get("basis") !== "scan") throw new Refusal(5, "unsupported_claim", "another basis");
  const media = requireMap(document, "media");
  const state = requireMap(document, "state");
  require(originOf(requireText(document, "profile")) !== null, "profile");
  const end = requireTime(document, "endTime");
  require(decodeBase64Url(document.get("salt"), 16) !== null, "salt");
  require(decodeDigest(media.get("digestMultibase")) !== null, "media.digestMultibase");
  require(Number.isInteger(media.get("size")) && media.get("size") > 0, "media.size");
  const mediaType = requireText(media, "mediaType");
  require(MEDIA_TYPE.test(mediaType), "media.mediaType");
  const coverage = requireText(document, "coverage");
  const isWhole = coverage === "full";
  if (!isWhole && (mediaType.startsWith("image/") || !["sampled", "prefix"].includes(coverage))) {
    throw new Refusal(5, "unsupported_claim", "another coverage");
  }
  const asOf = requireTime(state, "asOf");
  require(decodeDigest(state.get("digestMultibase")) !== null, "state.digestMultibase");
  const commitment = document.get("scanCommitment") ?? null;
  require(commitment === null || decodeDigest(commitment) !== null, "scanCommitment");
  return { end, asOf };
}

function requireRevocation(document, origin) {
  if (document.get("action") !== "rescan") throw new Refusal(5, "unsupported_claim", "another action");
  const scope = requireText(document, "scope");
  if (!SCOPES.includes(scope)) throw new Refusal(5, "unsupported_claim", "another scope");
  const object = requireText(document, "object");
  if (scope === "state") {
    require(decodeDigest(object) !== null, "object");
    return;
  }
  require(originOf(object) !== null, "object");
  if (scope !== "profile" && originOf(object) !== origin) {
    throw new Refusal(5, "wrong_origin", "it takes back what another origin said");
  }
}

function requireAlert(document) {
  require(CATEGORY.test(requireText(document, "category")), "category");
  require(decodeBase64Url(document.get("mac"), 32) !== null, "mac");
}

function requireDoubt(document) {
  const [issuer, , key] = ["object", "profile", "key"].map((name) => {
    const origin = originOf(requireText(document, name));
    require(origin !== null, name);
    return origin;
  });
  if (key !== issuer) throw new Refusal(5, "wrong_origin", "the key is not the doubted issuer's");
  if (document.get("object") === document.get("attributedTo")) {
    throw new Refusal(5, "unsupported_claim", "it doubts itself");
  }
}

function require(isTrue, name) {
  if (!isTrue) throw new Malformed(5, `${name} has another form`);
}

function requireText(map, name) {
  const value = map.get(name);
  require(typeof value === "string" && value !== "", name);
  return value;
}

function requireMap(map, name) {
  const value = map.get(name);
  require(value instanceof Map, name);
  return value;
}

function requireTime(map, name) {
  const value = parseTime(map.get(name));
  require(value !== null, name);
  return value;
}

function requireKey(keys, ids, now, trustedTime) {
  const key = keys.find((one) => one.id === ids.method);
  if (key === undefined) throw new Refusal(7, "wrong_key", "no such key is known");
  const raw = decodeMultikey(key.multikey);
  if (raw === null || !isSound(raw)) throw new Refusal(6, "key_refused", "not a sound Ed25519 key");
  if (key.actor !== ids.issuer) throw new Refusal(7, "unknown_issuer", "the key is another actor's");
  if (key.expires !== undefined && now >= parseTime(key.expires)) {
    throw new Refusal(7, "key_expired", "the key has ended");
  }
  if (key.revoked !== undefined && (trustedTime === null || trustedTime >= parseTime(key.revoked))) {
    throw new Refusal(7, "key_revoked", "the key was revoked before the object is known to have existed");
  }
  return raw;
}

function requireWindow(kind, { published, created, end, asOf }, now) {
  const isLate = Math.max(published, created) > now + MAX_AHEAD;
  if (isLate || created < published) throw new Refusal(8, "window", "from the future, or proved too early");
  if (kind !== "MediaScanAttestation") return;
  if (end - published > MAX_LIFE || created >= end || asOf > published) {
    throw new Refusal(8, "window", "a life that makes no sense");
  }
  if (now >= end) throw new Refusal(8, "expired", "it has run out");
}

function requireSignature(document, proof, key) {
  const options = new Map(proof);
  options.delete("proofValue");
  const unsecured = new Map(document);
  unsecured.delete("proof");
  const data = Buffer.concat([options, unsecured].map((part) => sha256(canonicalize(part))));
  if (!isSignedBy(key, decodeBase58(proof.get("proofValue"), 89), data)) {
    throw new Refusal(9, "bad_signature", "the signature is not over this object by this key");
  }
}

function sha256(text) {
  return createHash("sha256").update(text, "utf8").digest();
}

function requireStanding(document, ids, { published }, revocations, trustedTime) {
  const names = {
    attestation: ids.id,
    state: document.get("state").get("digestMultibase"),
    profile: document.get("profile"),
    key: ids.method,
  };
  for (const { issuer, scope, object, published: text } of revocations) {
    const at = parseTime(text);
    const isMeant = issuer === ids.issuer && names[scope] === object;
    const isInTime = { profile: published <= at, key: trustedTime === null || trustedTime >= at }[scope] ?? true;
    if (isMeant && isInTime) throw new Refusal(10, "revoked", "its issuer asks for a new scan");
  }
}
