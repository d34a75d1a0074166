/**
 * Stands in for `shiplog serve` under a cluster: answers /healthz until standard input ends.
 * FAKE_FAIL names a node that fails with an error instead, FAKE_DEAF one that takes no hint to stop.
 */
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    name: { type: 'string' },
    'data-dir': { type: 'string' },
    host: { type: 'string' },
    port: { type: 'string' },
    follow: { type: 'string' },
    'log-format': { type: 'string' },
    'exit-with-parent': { type: 'boolean' },
  },
});

function log(level: string, message: string, fields: object = {}): void {
  process.stderr.write(`${JSON.stringify({ time: '2026-01-01T00:00:00.000Z', level, node: values.name, message, ...fields })}\n`);
}

log('info', 'starting', { follow: values.follow ?? null });
if (process.env['FAKE_FAIL'] === values.name) {
  log('error', 'the log is damaged at byte 4096');
  process.exitCode = 66;
} else {
  const server = createServer((request, response) => {
    if (request.url === '/crash') process.kill(process.pid, 'SIGKILL');
    if (request.url === '/warn') log('warn', 'something is odd', { count: 3 });
    response.end('ok');
  });
  server.listen(Number(values.port), values.host);
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => {});
  process.stdin.resume().once('end', () => {
    log('info', 'stopped');
    server.closeAllConnections();
    server.close();
  });
}
