// Stripe's library for Node at both ends.
//
//   sign  reads a JSON list of [secret, body, Unix seconds] and writes the list of their Stripe-Signature values
//   app   serves POST /hook as its documentation shows, with the secret in SECRET: writes its port, then a line of
//         JSON for every request: what was verified, or why not
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import Stripe from "stripe";

const stripe = new Stripe("sk_test_none");

function sign() {
  const asked = JSON.parse(readFileSync(0, "utf8"));
  const signed = asked.map(([secret, payload, timestamp]) =>
    stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp }),
  );
  process.stdout.write(JSON.stringify(signed));
}

function app() {
  const verify = (body, signature) => {
    const thin = body.includes('"v2.core.event"');
    return thin
      ? stripe.parseEventNotification(body, signature, process.env.SECRET)
      : stripe.webhooks.constructEvent(body, signature, process.env.SECRET);
  };
  const server = createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      try {
        const event = verify(Buffer.concat(chunks), request.headers["stripe-signature"]);
        console.log(JSON.stringify({ id: event.id, trigger: request.headers["x-relay-trigger"] }));
        response.end("thank you");
      } catch (error) {
        console.log(JSON.stringify({ error: String(error.message) }));
        response.writeHead(400).end(`Webhook Error: ${error.message}`);
      }
    });
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
}

({ sign, app })[process.argv[2]]();
