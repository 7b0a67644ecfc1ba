// Verify the signed objects of FEP-f06a with nothing but Node.
//
//   node verify.mjs OBJECT.json KEYS.json TIME        prints "ok", or "refused" with the rule and the step
//   node verify.mjs --vectors FOLDER                  prints how every conformance vector ends, one JSON a line
//
// KEYS.json: {"keys": [{"actor", "id", "multikey", "expires"?, "revoked"?}], "revocations"?: [{"issuer", "scope",
// "object", "published"}], "trusted_time"?}. TIME: YYYY-MM-DDTHH:MM:SSZ. Exit status: 0 ok, 1 refused, 2 wrong use.

import { readFileSync, readdirSync } from "node:fs";
import { join, sep } from "node:path";

import { parseTime } from "./encoding.mjs";
import { parseField } from "./fields.mjs";
import { verifyMessage } from "./messages.mjs";
import { verifyObject } from "./objects.mjs";
import { Refusal } from "./refusal.mjs";

const TYPES = {
  attestations: "MediaScanAttestation",
  revocations: "MediaScanRevocation",
  alerts: "MediaScanAlert",
  doubts: "MediaScanDoubt",
};

function judge(work) {
  try {
    work();
    return { outcome: "valid" };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { outcome: error.reason, step: error.step, detail: error.message };
  }
}

function judgeVector(folder, path) {
  const one = JSON.parse(readFileSync(join(folder, path), "utf8"));
  const now = parseTime(one.now);
  if (path.startsWith("fields")) {
    return judge(() => {
      if (parseField(one.value).toString("utf8") !== one.raw) throw new Error(`${path} holds other bytes`);
    });
  }
  if (path.startsWith("messages")) return judge(() => verifyMessage(one.kind, one.message, one.key, now));
  const bytes = one.rawBase64 === undefined ? Buffer.from(one.raw, "utf8") : Buffer.from(one.rawBase64, "base64");
  return judge(() =>
    verifyObject(bytes, {
      keys: [one.key],
      now,
      trustedTime: parseTime(one.trusted_time),
      revocations: one.revocations ?? [],
      types: [TYPES[path.split(sep)[0]]],
    }),
  );
}

function main([first, second, third, ...rest]) {
  if (first === "--vectors" && second !== undefined && third === undefined) {
    for (const path of readdirSync(second, { recursive: true }).sort()) {
      if (!path.includes(sep) || !path.endsWith(".json")) continue;
      console.log(JSON.stringify({ path: path.split(sep).join("/"), ...judgeVector(second, path) }));
    }
    return 0;
  }
  const now = parseTime(third);
  if (now === null || rest.length > 0) {
    console.error("usage: node verify.mjs OBJECT.json KEYS.json TIME | node verify.mjs --vectors FOLDER");
    return 2;
  }
  const known = JSON.parse(readFileSync(second, "utf8"));
  const { outcome, step, detail } = judge(() =>
    verifyObject(readFileSync(first), {
      keys: known.keys,
      now,
      trustedTime: parseTime(known.trusted_time),
      revocations: known.revocations ?? [],
    }),
  );
  console.log(outcome === "valid" ? "ok" : `refused: ${outcome} at step ${step}: ${detail}`);
  return outcome === "valid" ? 0 : 1;
}

process.exitCode = main(process.argv.slice(2));
