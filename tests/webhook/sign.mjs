// Signs as GitHub does, with GitHub's own library. Reads a JSON list of [secret, body] pairs from standard
// input and writes the list of their X-Hub-Signature-256 values.
import { readFileSync } from "node:fs";
import { sign } from "@octokit/webhooks-methods";

const pairs = JSON.parse(readFileSync(0, "utf8"));
const signatures = await Promise.all(pairs.map(([secret, body]) => sign(secret, body)));
process.stdout.write(JSON.stringify(signatures));
