// Listens, and stops without cutting anyone off.
import { createServer } from 'node:http';
import { handle } from './app.js';

const PORT = 3000;
const DRAIN_MS = 10_000;

const server = createServer(handle);
// Longer than nginx keeps an idle connection to us, so that it is never us who closes one that
// nginx is about to use.
server.keepAliveTimeout = 75_000;

let stopping = false;
server.on('request', (_request, response) => {
  // A connection that is still busy when we stop ends with its answer.
  response.on('finish', () => stopping && setImmediate(() => server.closeIdleConnections()));
});

function stop() {
  stopping = true;
  server.close(() => process.exit(0));
  setTimeout(() => server.closeAllConnections(), DRAIN_MS).unref();
}

process.on('SIGTERM', stop);
process.on('SIGINT', stop);
server.listen(PORT, '0.0.0.0');
