// Signs webhooks as forges do, without any of our code: Node's own HMAC, and the library of Standard Webhooks. Reads
// a JSON list of { how, secret, body, id, at } from standard input and writes the list of signatures.
import { readFileSync } from "node:fs";
import { createHmac } from "node:crypto";
import { Webhook } from "standardwebhooks";

const hex = (secret, body) => createHmac("sha256", secret).update(body).digest("hex");
const ways = {
  hex: ({ secret, body }) => hex(secret, body),
  prefixed: ({ secret, body }) => `sha256=${hex(secret, body)}`,
  standard: ({ secret, body, id, at }) => new Webhook(secret).sign(id, new Date(at * 1000), body),
};
const wanted = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(wanted.map((one) => ways[one.how](one))));
