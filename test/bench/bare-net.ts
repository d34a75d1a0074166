/**
 * The least that a socket in Node can do: one fixed answer per request head, nothing is parsed. Right
 * only for a generator that sends each request in one piece and waits for its answer, as ours do.
 */
import { type AddressInfo, createServer } from 'node:net';

const value = 'v'.repeat(Number(process.argv[2] ?? 32));
const getAnswer = answerWith(value);
const okAnswer = answerWith('OK');
const GET = 'G'.charCodeAt(0);

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('data', (chunk) => socket.write(chunk[0] === GET ? getAnswer : okAnswer));
  socket.on('error', () => socket.destroy());
});
server.listen(0, '127.0.0.1', () => console.log(`ready at http://127.0.0.1:${(server.address() as AddressInfo).port}`));

function answerWith(body: string): Buffer {
  return Buffer.from(`HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
}
