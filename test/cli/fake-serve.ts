/**
 * Stands in for `shiplog serve` under a cluster: answers /healthz and /status until standard input ends.
 * FAKE_FAIL names a node that fails with an error instead, FAKE_DEAF one that takes no hint to stop.
 */
import { existsSync, readFileSync } from 'node:fs';
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

/** The one in the data directory, as of a real node; else what the flags make of it. */
function role(): string {
  const file = `${values['data-dir']}/node.json`;
  const stored = existsSync(file) ? /"role": "(\w+)"/.exec(readFileSync(file, 'utf8'))?.[1] : undefined;
  return stored ?? (values.follow === undefined ? 'primary' : 'replica');
}

function status(): object {
  const state = role() === 'primary' ? 'primary' : 'following';
  return { name: values.name, nodeId: values.name, role: role(), state, url: `http://${values.host}:${values.port}`, upstream: null, members: [], followers: [], tasks: [] };
}

log('info', 'starting', { follow: values.follow ?? null });
if (process.env['FAKE_FAIL'] === values.name) {
  log('error', 'the log is damaged at byte 4096');
  process.exitCode = 66;
} else {
  const server = createServer((request, response) => {
    if (request.url === '/crash') process.kill(process.pid, 'SIGKILL');
    if (request.url === '/warn') log('warn', 'something is odd', { count: 3 });
    response.end(request.url === '/status' ? JSON.stringify(status()) : 'ok');
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
