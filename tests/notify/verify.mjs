// Checks webhooks with the library of Standard Webhooks. Reads a JSON list of { secret, body, headers } from standard
// input and writes the list of what the library said.
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const check = ({ secret, body, headers }) => {
  try {
    new Webhook(secret).verify(body, headers);
    return "right";
  } catch (error) {
    return error.message;
  }
};
process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(check)));
