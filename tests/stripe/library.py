"""Stripe's library for Python at both ends; the same words as library.mjs."""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import stripe

client = stripe.StripeClient("sk_test_none")


def sign():
    asked = json.load(sys.stdin)
    make = stripe.WebhookSignature.generate_signature_header
    json.dump([make(body, secret, timestamp=at) for secret, body, at in asked], sys.stdout)


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        thin = b'"v2.core.event"' in body
        verify = client.parse_event_notification if thin else client.construct_event
        try:
            event = verify(body, self.headers["Stripe-Signature"], os.environ["SECRET"])
        except (ValueError, stripe.SignatureVerificationError) as error:
            return self.answer(400, {"error": str(error)})
        self.answer(200, {"id": event.id, "trigger": self.headers["X-Relay-Trigger"]})

    def answer(self, status, said):
        # In one piece: others are being answered at the same time.
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def app():
    server = ThreadingHTTPServer(("127.0.0.1", 0), App)
    print(server.server_address[1], flush=True)
    server.serve_forever()


{"sign": sign, "app": app}[sys.argv[1]]()
