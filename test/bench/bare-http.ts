/** The least that node:http can do: a fixed body for GET, `OK` for anything else once its body is there. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const value = Buffer.from('v'.repeat(Number(process.argv[2] ?? 32)));
const ok = Buffer.from('OK');

const server = createServer((request, response) => {
  const answer = (body: Buffer): void => {
    response.writeHead(200, { 'Content-Type': 'text/plain; charset=utf-8', 'Content-Length': body.length });
    response.end(body);
  };
  if (request.method === 'GET') answer(value);
  else request.resume().once('end', () => answer(ok));
});
server.listen(0, '127.0.0.1', () => console.log(`ready at http://127.0.0.1:${(server.address() as AddressInfo).port}`));
