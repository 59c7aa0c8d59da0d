// The cart, as it travels in the visitor's own cookie: `finch.2_motor.1`.
//
// The server keeps nothing, so any instance can answer any request and a roll empties no one's
// cart. Only names and counts are in it; prices always come from the catalogue.
import { PREFIX } from './http.js';
import { bySku } from './catalogue.js';

const NAME = 'rocket_cart';
const MAX_COUNT = 20;
const WEEK_SECONDS = 7 * 24 * 3600;

// [{ product, count }], in the order of the first addition; anything unknown is left out.
export function read(request) {
  const cookies = (request.headers.cookie ?? '').split(';').map((part) => part.trim());
  const value = cookies.find((part) => part.startsWith(`${NAME}=`))?.slice(NAME.length + 1) ?? '';
  const counts = new Map(value.split('_').map((line) => line.split('.')));
  return [...counts]
    .map(([sku, count]) => ({ product: bySku.get(sku), count: Number(count) }))
    .filter(({ product, count }) => product && Number.isInteger(count) && count >= 1 && count <= MAX_COUNT);
}

export function change(lines, sku, add) {
  const product = bySku.get(sku);
  if (!product || !Number.isInteger(add)) return lines;
  const known = lines.some((line) => line.product === product);
  return (known ? lines : [...lines, { product, count: 0 }])
    .map((line) => (line.product === product ? { ...line, count: Math.min(line.count + add, MAX_COUNT) } : line))
    .filter((line) => line.count > 0);
}

export function cookie(lines) {
  const value = lines.map(({ product, count }) => `${product.sku}.${count}`).join('_');
  const age = lines.length > 0 ? WEEK_SECONDS : 0;
  return `${NAME}=${value}; Path=${PREFIX}/; Max-Age=${age}; HttpOnly; SameSite=Lax`;
}

export const total = (lines) => lines.reduce((sum, { product, count }) => sum + product.price * count, 0);
export const pieces = (lines) => lines.reduce((sum, { count }) => sum + count, 0);
