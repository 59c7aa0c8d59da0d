// The files in static/, read once at the start; a file that is not there then is not served.
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { BadRequest, send } from './http.js';

const folder = new URL('../static/', import.meta.url);
const types = { css: 'text/css; charset=utf-8', svg: 'image/svg+xml' };

const files = new Map(
  readdirSync(folder).map((name) => {
    const body = readFileSync(new URL(name, folder));
    const etag = `"${createHash('sha256').update(body).digest('hex').slice(0, 16)}"`;
    return [name, { body, etag, type: types[name.split('.').at(-1)] }];
  }),
);

export function staticFile(request, response, name) {
  const file = files.get(name);
  if (!file?.type) throw new BadRequest(404, 'There is nothing at this address.');
  const headers = { ETag: file.etag, 'Cache-Control': 'no-cache' };
  if (request.headers['if-none-match'] === file.etag) {
    response.writeHead(304, headers).end();
  } else {
    send(response, 200, file.type, file.body, headers);
  }
}
