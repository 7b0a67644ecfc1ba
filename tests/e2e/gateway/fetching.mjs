// A backend in Node.js: it fetches through its proxy what it is told to, one JSON object a line each way.

import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { ProxyAgent, fetch } = createRequire(new URL("../interop/package.json", import.meta.url))("undici");
const dispatcher = new ProxyAgent(process.argv[2]);

async function answer({ url, method, headers }) {
  const response = await fetch(url, { method, headers, dispatcher, redirect: "manual" });
  const body = Buffer.from(await response.arrayBuffer());
  return {
    status: response.status,
    headers: [...response.headers],
    body: body.toString("base64"),
    sha256: createHash("sha256").update(body).digest("hex"),
  };
}

function describe(error) {
  const causes = [];
  for (let cause = error; cause instanceof Error; cause = cause.cause) causes.push(cause.message);
  return causes.join(": ");
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  answer(asked)
    .catch((error) => ({ error: describe(error) }))
    .then((answered) => process.stdout.write(`${JSON.stringify({ id: asked.id, ...answered })}\n`));
}
await dispatcher.close();
