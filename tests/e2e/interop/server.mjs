// A small federated server made with Fedify, driven over its standard input: one JSON command a line in,
// one JSON answer a line out. Its first line tells where it listens.

import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";

import { createFederation, generateCryptoKeyPair, MemoryKvStore } from "@fedify/fedify";
import { parseNodeInfo } from "@fedify/fedify/nodeinfo";
import { verifyProof } from "@fedify/fedify/sig";
import { Announce, Create, DataIntegrityProof, Image, Note, Person, PUBLIC_COLLECTION } from "@fedify/vocab";
import { exportMultibaseKey, exportSpki } from "@fedify/vocab-runtime";

const PICTURES = new Map();
const NOTES = new Map();
const keys = new Map();

// Every name is an actor. One that begins with "locked" shows itself, and its notes, to signed requests only.
const isLocked = (identifier) => identifier.startsWith("locked");

// Who asked for what, how it was signed, and what it was answered; and whom Fedify says the signature is of.
const visits = [];

function schemeOf(headers) {
  if (headers.has("signature-input")) return "rfc9421";
  return headers.has("signature") ? "cavage" : "unsigned";
}

async function keyPairs(identifier) {
  if (!keys.has(identifier)) {
    keys.set(identifier, [
      await generateCryptoKeyPair("RSASSA-PKCS1-v1_5"),
      await generateCryptoKeyPair("Ed25519"),
    ]);
  }
  return keys.get(identifier);
}

async function isAllowed(context, identifier) {
  if (!isLocked(identifier)) return true;
  const owner = await context.getSignedKeyOwner();
  context.data.owner = owner?.id?.href ?? null;
  return owner != null;
}

function buildFederation(firstKnock) {
  const federation = createFederation({ kv: new MemoryKvStore(), firstKnock, allowPrivateAddress: true });
  federation
    .setActorDispatcher("/users/{identifier}", async (context, identifier) => {
      const pairs = await context.getActorKeyPairs(identifier);
      return new Person({
        id: context.getActorUri(identifier),
        preferredUsername: identifier,
        inbox: context.getInboxUri(identifier),
        url: context.getActorUri(identifier),
        publicKeys: pairs.map((pair) => pair.cryptographicKey),
        assertionMethods: pairs.map((pair) => pair.multikey),
      });
    })
    .setKeyPairsDispatcher((_, identifier) => keyPairs(identifier))
    .authorize(isAllowed);
  federation.setInboxListeners("/users/{identifier}/inbox", "/inbox");
  federation
    .setObjectDispatcher(Note, "/notes/{identifier}/{number}", (context, values) =>
      NOTES.get(`${values.identifier}/${values.number}`) ?? null)
    .authorize((context, values) => isAllowed(context, values.identifier));
  federation.setNodeInfoDispatcher("/nodeinfo/2.1", () => ({
    software: { name: "interop", version: "1.0.0" },
    protocols: ["activitypub"],
    usage: { users: {}, localPosts: 0, localComments: 0 },
  }));
  return federation;
}

// Fedify remembers per origin which scheme was taken, so each first knock is a server of its own.
const federations = { rfc9421: buildFederation("rfc9421"), cavage: buildFederation("draft-cavage-http-signatures-12") };

async function answer(request) {
  const path = new URL(request.url).pathname;
  if (PICTURES.has(path)) {
    return new Response(PICTURES.get(path), { headers: { "content-type": "image/png" } });
  }
  const data = {};
  const response = await federations.rfc9421.fetch(request, {
    contextData: data,
    onUnauthorized: () => new Response("Signed requests only.", { status: 401 }),
  });
  visits.push({ path, scheme: schemeOf(request.headers), status: response.status, owner: data.owner ?? null });
  return response;
}

const server = createServer(async (incoming, outgoing) => {
  const hasBody = !["GET", "HEAD"].includes(incoming.method);
  const request = new Request(new URL(incoming.url, origin), {
    method: incoming.method,
    headers: Object.entries(incoming.headersDistinct).flatMap(([name, values]) => values.map((one) => [name, one])),
    body: hasBody ? Readable.toWeb(incoming) : undefined,
    duplex: hasBody ? "half" : undefined,
  });
  const response = await answer(request);
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  outgoing.end(Buffer.from(await response.arrayBuffer()));
});

function buildNote(context, { actor, number, picture, pictureName }) {
  const path = `/pictures/${pictureName}`;
  PICTURES.set(path, Buffer.from(picture, "base64"));
  const note = new Note({
    id: context.getObjectUri(Note, { identifier: actor, number }),
    attribution: context.getActorUri(actor),
    to: PUBLIC_COLLECTION,
    content: "<p>a drawn marker</p>",
    attachments: [new Image({ url: new URL(path, origin), mediaType: "image/png", name: "a drawn marker" })],
  });
  NOTES.set(`${actor}/${number}`, note);
  return note;
}

const commands = {
  // Deliver Create{Note{Image}}, or an Announce of the Note by its id, as Fedify sends it to any inbox.
  async deliver({ first, actor, number, picture, pictureName, inbox, announcedBy }) {
    const context = federations[first].createContext(new URL(origin), {});
    const note = buildNote(context, { actor, number, picture, pictureName });
    const sender = announcedBy ?? actor;
    const common = { actor: context.getActorUri(sender), to: PUBLIC_COLLECTION };
    const activity = announcedBy == null
      ? new Create({ ...common, id: new URL(`#create`, note.id), object: note })
      : new Announce({ ...common, id: new URL(`/announces/${number}`, origin), object: note.id });
    const recipient = { id: new URL("/users/bob", inbox), inboxId: new URL(inbox) };
    await context.sendActivity({ identifier: sender }, recipient, activity);
    return { id: activity.id.href };
  },

  // Read an actor as Fedify does before it believes its signatures.
  async lookup({ url }) {
    const context = federations.rfc9421.createContext(new URL(origin), {});
    const actor = await context.lookupObject(url);
    const published = [];
    for await (const key of actor.getPublicKeys()) published.push(key);
    const methods = [];
    for await (const method of actor.getAssertionMethods()) methods.push(method);
    return {
      id: actor.id.href,
      type: actor.constructor.name,
      name: actor.preferredUsername,
      inbox: actor.inboxId.href,
      rsa: await Promise.all(published.map(async (key) => ({
        id: key.id.href,
        owner: key.ownerId.href,
        pem: await exportSpki(key.publicKey),
      }))),
      multikeys: await Promise.all(methods.map(async (method) => ({
        id: method.id.href,
        controller: method.controllerId.href,
        multibase: await exportMultibaseKey(method.publicKey),
      }))),
    };
  },

  async webfinger({ resource }) {
    const context = federations.rfc9421.createContext(new URL(origin), {});
    return await context.lookupWebFinger(new URL(resource));
  },

  // Fedify's own look-up goes to public addresses only; the reading is Fedify's, and strict.
  async nodeinfo({ url }) {
    const known = await (await fetch(new URL("/.well-known/nodeinfo", url))).json();
    const link = known.links.find(({ rel }) => rel === "http://nodeinfo.diaspora.software/ns/schema/2.1");
    return parseNodeInfo(await (await fetch(link.href)).json());
  },

  // Verify a document's FEP-8b32 proof; the key is fetched from where the proof says. The context of
  // attestations has an address that nothing is served at yet; for the proof its contents do not matter.
  async verify({ document, unpublishedContext }) {
    const context = federations.rfc9421.createContext(new URL(origin), {});
    const contextLoader = async (url) => url === unpublishedContext
      ? { contextUrl: null, documentUrl: url, document: { "@context": {} } }
      : await context.contextLoader(url);
    const options = { documentLoader: context.documentLoader, contextLoader };
    const proof = await DataIntegrityProof.fromJsonLd(
      { "@context": document["@context"], ...document.proof },
      options,
    );
    const key = await verifyProof(document, proof, options);
    return { key: key?.id?.href ?? null, controller: key?.controllerId?.href ?? null };
  },

  async multikey({ actor }) {
    const [, pair] = await keyPairs(actor);
    return { multibase: await exportMultibaseKey(pair.publicKey) };
  },

  async fetch_unsigned({ url }) {
    const response = await fetch(url, { headers: { accept: "application/activity+json" } });
    return { status: response.status };
  },

  visits: () => visits,
};

let origin;
server.listen(0, "127.0.0.1", () => {
  origin = `http://127.0.0.1:${server.address().port}`;
  console.log(JSON.stringify({ origin }));
});

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...parameters } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ answer: await commands[command](parameters) }));
  } catch (error) {
    console.log(JSON.stringify({ error: `${error.name}: ${error.message}` }));
  }
}
process.exit(0);
