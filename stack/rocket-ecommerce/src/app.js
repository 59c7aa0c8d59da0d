// The shop's routes.
import { randomBytes } from 'node:crypto';
import * as cart from './cart.js';
import { BadRequest, PREFIX, readForm, redirect, send, sendHtml, sendJson } from './http.js';
import * as pages from './pages.js';
import * as payments from './payments.js';
import { staticFile } from './static.js';
import { VERSION } from './version.js';

const routes = [
  ['GET', /^\/healthz$/, (_request, response) => send(response, 200, 'text/plain', 'ok')],
  ['GET', /^\/version$/, (_request, response) => sendJson(response, 200, VERSION)],
  ['GET', /^\/$/, showCatalogue],
  ['GET', /^\/static\/([\w.-]+)$/, staticFile],
  ['GET', /^\/cart$/, showCart],
  ['POST', /^\/cart$/, changeCart],
  ['POST', /^\/checkout$/, checkout],
  ['GET', /^\/orders\/([0-9a-f]{24})$/, showOrder],
  ['GET', /^\/payments$/, showPayments],
];

export async function handle(request, response) {
  try {
    await route(request, response);
  } catch (error) {
    if (error instanceof BadRequest) {
      sendHtml(response, error.status, pages.problem(error.message, cart.read(request)));
    } else {
      console.error(error);
      sendHtml(response, 500, pages.problem('Something broke on our side.', []));
    }
  }
}

async function route(request, response) {
  const [pathname] = request.url.split('?');
  // Probes inside the network know nothing of prefixes.
  const bare = pathname === '/healthz' || pathname === '/version';
  const path = bare ? pathname : pathname.startsWith(`${PREFIX}/`) && pathname.slice(PREFIX.length);
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  for (const [wanted, pattern, handler] of routes) {
    const match = path && wanted === method && pattern.exec(path);
    if (match) return handler(request, response, ...match.slice(1));
  }
  throw new BadRequest(404, 'There is nothing at this address.');
}

function showCatalogue(request, response) {
  sendHtml(response, 200, pages.catalogue(cart.read(request)));
}

function showCart(request, response) {
  // The order's number is made with the form: pressing the button twice is one order.
  sendHtml(response, 200, pages.cart(cart.read(request), randomBytes(12).toString('hex')));
}

async function changeCart(request, response) {
  const form = await readForm(request);
  const lines = cart.change(cart.read(request), form.get('sku'), Number(form.get('add')));
  redirect(response, `${PREFIX}/${form.get('from') === 'cart' ? 'cart' : ''}`, cart.cookie(lines));
}

async function checkout(request, response) {
  const form = await readForm(request);
  const order = form.get('order') ?? '';
  const lines = cart.read(request);
  if (!/^[0-9a-f]{24}$/.test(order)) throw new BadRequest(400, 'This order has no number.');
  if (lines.length === 0) throw new BadRequest(400, 'The cart is empty.');

  const problem = await payments.report(order, lines);
  if (problem) {
    console.error(`order ${order}: ${problem}`);
    sendHtml(response, 502, pages.unpaid(lines, order, problem));
  } else {
    redirect(response, `${PREFIX}/orders/${order}`, cart.cookie([]));
  }
}

async function showOrder(request, response, order) {
  const seen = await payments.seenByFlaskSoft();
  sendHtml(response, 200, pages.order(order, payments.eventId(order), seen, cart.read(request)));
}

async function showPayments(request, response) {
  sendHtml(response, 200, pages.payments(await payments.seenByFlaskSoft(), cart.read(request)));
}
