// What is running: the revision it was rolled with, and a line of text from the source.
import { readFileSync } from 'node:fs';

export const VERSION = {
  service: 'rocket-ecommerce',
  revision: process.env.AGENT_REVISION || 'dev',
  text: readFileSync(new URL('../version.txt', import.meta.url), 'utf8').trim(),
};
