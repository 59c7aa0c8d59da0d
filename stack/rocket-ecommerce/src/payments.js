// Payment events out, payment events seen. No money moves here: the checkout says what a payment
// provider would say once a card was charged, in its shape and with its signature.
import Stripe from 'stripe';
import { total } from './cart.js';
import { CURRENCY } from './catalogue.js';

const EVENTS_URL = process.env.PAYMENT_EVENTS_URL || 'http://flask-soft:5000/webhook';
const FLASK_SOFT_URL = process.env.FLASK_SOFT_URL || 'http://flask-soft:5000';
const SECRET = process.env.STRIPE_WEBHOOK_SECRET || '';
const REPORT_MS = 5000;
const LOOK_MS = 2000;

// The same order is always the same events, so an order sent twice is recorded once.
export const eventId = (order) => `evt_rocket${order}`;

function event(id, type, created, object) {
  return {
    id,
    object: 'event',
    api_version: null,
    created,
    type,
    livemode: false,
    pending_webhooks: 1,
    request: { id: null, idempotency_key: null },
    data: { object: { ...object, created, livemode: false } },
  };
}

// What Stripe sends for a card payment in its hosted checkout, each about another object. The one
// that says the order is paid comes last: when it has arrived, all have.
function eventsOf(order, lines) {
  const now = Math.floor(Date.now() / 1000);
  const [amount, currency] = [total(lines), CURRENCY];
  const intent = { id: `pi_${order}`, object: 'payment_intent', amount, amount_received: amount, currency, status: 'succeeded' };
  const charge = {
    id: `ch_${order}`, object: 'charge', amount, amount_captured: amount, currency, paid: true,
    payment_intent: intent.id, status: 'succeeded',
  };
  const session = {
    id: `cs_test_${order}`,
    object: 'checkout.session',
    amount_total: amount,
    client_reference_id: `rocket-${order.slice(0, 8)}`,
    currency,
    metadata: { items: lines.map(({ product, count }) => `${count} × ${product.sku}`).join(', ') },
    mode: 'payment',
    payment_intent: intent.id,
    payment_status: 'paid',
    status: 'complete',
  };
  return [
    event(`${eventId(order)}_pi`, 'payment_intent.succeeded', now, intent),
    event(`${eventId(order)}_ch`, 'charge.succeeded', now, charge),
    event(eventId(order), 'checkout.session.completed', now, session),
  ];
}

// Returns what went wrong, for people, or null once the receiver has taken every event.
export async function report(order, lines) {
  if (!SECRET) return 'the shop has no signing secret: set STRIPE_WEBHOOK_SECRET';
  for (const one of eventsOf(order, lines)) {
    const problem = await send(one);
    if (problem) return problem;
  }
  return null;
}

async function send(one) {
  const body = JSON.stringify(one);
  try {
    const answer = await fetch(EVENTS_URL, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json; charset=utf-8',
        'Stripe-Signature': Stripe.webhooks.generateTestHeaderString({ payload: body, secret: SECRET }),
      },
      body,
      redirect: 'manual',
      signal: AbortSignal.timeout(REPORT_MS),
    });
    await answer.arrayBuffer();
    return answer.ok ? null : `the receiver of payment events answered ${answer.status}`;
  } catch (error) {
    return `the receiver of payment events did not answer: ${error.cause?.code ?? error.name}`;
  }
}

// { payments, total } as flask-soft lists them, or null when it does not answer.
export async function seenByFlaskSoft() {
  try {
    const answer = await fetch(`${FLASK_SOFT_URL}/payments.json`, { signal: AbortSignal.timeout(LOOK_MS) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}
