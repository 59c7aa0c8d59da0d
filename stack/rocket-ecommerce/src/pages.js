// The shop's pages, as functions from data to html.
import { pieces, total } from './cart.js';
import { formatPrice, products } from './catalogue.js';
import { html } from './html.js';
import { PREFIX } from './http.js';
import { VERSION } from './version.js';

function layout(title, lines, main) {
  return html`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>${title} · rocket-ecommerce</title>
  <link rel="stylesheet" href="${PREFIX}/static/style.css">
  <link rel="icon" href="data:,">
</head>
<body>
  <header>
    <h1>rocket-ecommerce</h1>
    <p>${VERSION.text}</p>
    <nav aria-label="Shop">
      <a href="/">All apps</a>
      <a href="${PREFIX}/">Catalogue</a>
      <a href="${PREFIX}/cart">Cart (${pieces(lines)})</a>
      <a href="${PREFIX}/payments">Payments</a>
    </nav>
  </header>
  <main>
    <h2>${title}</h2>
    ${main}
  </main>
  <footer class="quiet small">rocket-ecommerce · revision ${VERSION.revision}</footer>
</body>
</html>
`;
}

function changeButton(product, add, from, label, sign = label) {
  return html`
    <form method="post" action="${PREFIX}/cart">
      <input type="hidden" name="sku" value="${product.sku}">
      <input type="hidden" name="add" value="${add}">
      <input type="hidden" name="from" value="${from}">
      <button ${sign !== label && html`class="second"`} aria-label="${label}: ${product.name}">${sign}</button>
    </form>`;
}

export function catalogue(lines) {
  const tiles = products.map((product) => html`
    <li class="card">
      <div class="row"><strong class="grow">${product.name}</strong> <span class="number">${formatPrice(product.price)}</span></div>
      <p class="quiet">${product.about}</p>
      ${changeButton(product, 1, 'catalogue', 'Add to cart')}
    </li>`);
  return layout('Catalogue', lines, html`<ul class="plain tiles">${tiles}</ul>`);
}

export function cart(lines, order) {
  if (lines.length === 0) {
    return layout('Cart', lines, html`<p class="card">Empty. <a href="${PREFIX}/">Find something in the catalogue.</a></p>`);
  }
  const rows = lines.map(({ product, count }) => html`
    <li class="row">
      <span class="grow">${product.name} <span class="quiet">${formatPrice(product.price)}</span></span>
      <div class="actions">
        ${changeButton(product, -1, 'cart', 'One less', '−')}
        <span class="number">${count}</span>
        ${changeButton(product, 1, 'cart', 'One more', '+')}
      </div>
    </li>`);
  return layout('Cart', lines, html`
    <ul class="plain">${rows}</ul>
    ${payForm(lines, order)}`);
}

function payForm(lines, order) {
  return html`
    <form class="row" method="post" action="${PREFIX}/checkout">
      <input type="hidden" name="order" value="${order}">
      <p class="grow"><strong>Total ${formatPrice(total(lines))}</strong><br><span class="quiet small">A simulated payment: no card is asked for, no money moves.</span></p>
      <button>Pay</button>
    </form>`;
}

export function unpaid(lines, order, problem) {
  return layout('Not paid', lines, html`
    <p class="card bad" role="alert">The payment could not be recorded: ${problem}. Nothing was charged and the cart is kept; paying again cannot charge twice.</p>
    ${payForm(lines, order)}`);
}

export function order(number, eventId, seen, lines) {
  const payment = seen?.payments.find(({ id }) => id === eventId);
  const state = payment
    ? html`<p class="card good" role="status">flask-soft has recorded the payment: ${formatPrice(payment.amount)}.</p>`
    : html`<p class="card" role="status">Paid. ${seen ? 'flask-soft has not heard of it yet, and will' : 'flask-soft is away just now, and will hear of it when it is back'}. <a href="">Look again.</a></p>`;
  return layout(`Order rocket-${number.slice(0, 8)}`, lines, html`<p>Thank you. It is on the pad.</p>${state}`);
}

export function payments(seen, lines) {
  if (!seen) {
    return layout('Payments', lines, html`<p class="card bad" role="alert">flask-soft does not answer just now. The shop works without it; try again in a moment.</p>`);
  }
  const rows = seen.payments.slice(0, 20).map((payment) => html`
    <tr>
      <td>${payment.received_at.slice(0, 19).replace('T', ' ')}</td>
      <td>${payment.reference ?? payment.type}</td>
      <td class="number">${payment.amount === null ? '–' : `${(payment.amount / 100).toFixed(2)} ${(payment.currency ?? '').toUpperCase()}`}</td>
    </tr>`);
  return layout('Payments', lines, html`
    <p class="quiet">As flask-soft has them, asked by its compose name: ${seen.total} in all.</p>
    <div class="scroll">
      <table>
        <thead><tr><th scope="col">Received (UTC)</th><th scope="col">Reference</th><th scope="col" class="number">Amount</th></tr></thead>
        <tbody>${rows}</tbody>
      </table>
    </div>`);
}

export function problem(message, lines) {
  return layout('Sorry', lines, html`<p class="card bad" role="alert">${message}</p>`);
}
