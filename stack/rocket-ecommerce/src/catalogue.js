// What the shop sells. Prices are in cents of CURRENCY, as payment providers count.
export const CURRENCY = 'eur';

export const products = [
  { sku: 'finch', name: 'Finch', about: 'A first rocket, 30 cm, flies to 100 m.', price: 1490 },
  { sku: 'heron', name: 'Heron', about: 'Two stages and a clear payload bay.', price: 3950 },
  { sku: 'motor', name: 'Motors, six', about: 'Black powder, with igniters.', price: 1250 },
  { sku: 'chute', name: 'Parachute', about: 'Ripstop nylon, 45 cm, orange.', price: 780 },
  { sku: 'pad', name: 'Launch pad', about: 'Steel rod, tripod, blast plate.', price: 2690 },
  { sku: 'altimeter', name: 'Altimeter', about: 'Nine grams; says how high it was.', price: 4500 },
];

export const bySku = new Map(products.map((product) => [product.sku, product]));

export function formatPrice(cents) {
  return `${(cents / 100).toFixed(2)} ${CURRENCY.toUpperCase()}`;
}
