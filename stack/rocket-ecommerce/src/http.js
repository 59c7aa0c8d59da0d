// Small helpers over node:http: answers with the right headers, forms within bounds.
// nginx keeps the prefix, so every address of the shop lies under it.
export const PREFIX = '/rocket';

const MAX_FORM_BYTES = 16 * 1024;

const PROTECTION = {
  'Content-Security-Policy':
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
};

export class BadRequest extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function send(response, status, type, body, headers = {}) {
  response.writeHead(status, {
    ...PROTECTION,
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
    ...headers,
  });
  response.end(body);
}

export function sendHtml(response, status, page) {
  // Pages show the visitor's own cart.
  send(response, status, 'text/html; charset=utf-8', String(page), { 'Cache-Control': 'no-store' });
}

export function sendJson(response, status, value) {
  send(response, status, 'application/json', JSON.stringify(value));
}

export function redirect(response, location, cookie) {
  response.writeHead(303, { Location: location, 'Content-Length': 0, 'Set-Cookie': cookie });
  response.end();
}

export async function readForm(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_FORM_BYTES) throw new BadRequest(413, 'This form is too large.');
    chunks.push(chunk);
  }
  return new URLSearchParams(Buffer.concat(chunks).toString('utf8'));
}
