/** What common clients send by default: read off the wire; those of Go and hey as their documentation and habits have it. */

export interface ClientHead {
  readonly client: string;
  readonly get: string;
  readonly set: string;
}

const GET = 'GET /get/key HTTP/1.1';
const HOST = '127.0.0.1:4455';

export const CLIENT_HEADS: readonly ClientHead[] = [
  {
    client: 'curl -d hello',
    get: lines(GET, `Host: ${HOST}`, 'User-Agent: curl/7.88.1', 'Accept: */*'),
    set: lines('POST /set/key HTTP/1.1', `Host: ${HOST}`, 'User-Agent: curl/7.88.1', 'Accept: */*', 'Content-Length: 5', 'Content-Type: application/x-www-form-urlencoded'),
  },
  {
    client: 'curl -X PUT -H Content-Type: -d hello',
    get: lines(GET, `Host: ${HOST}`, 'User-Agent: curl/7.88.1', 'Accept: */*'),
    set: lines('PUT /set/key HTTP/1.1', `Host: ${HOST}`, 'User-Agent: curl/7.88.1', 'Accept: */*', 'Content-Length: 5'),
  },
  {
    client: 'fetch of Node',
    get: lines(GET, `host: ${HOST}`, 'connection: keep-alive', 'accept: */*', 'accept-language: *', 'sec-fetch-mode: cors', 'user-agent: node', 'accept-encoding: gzip, deflate'),
    set: lines(
      'POST /set/key HTTP/1.1',
      `host: ${HOST}`,
      'connection: keep-alive',
      'content-type: text/plain;charset=UTF-8',
      'accept: */*',
      'accept-language: *',
      'sec-fetch-mode: cors',
      'user-agent: node',
      'accept-encoding: gzip, deflate',
      'content-length: 5',
    ),
  },
  {
    client: 'http.request of Node',
    get: lines(GET, `Host: ${HOST}`, 'Connection: keep-alive'),
    set: lines('POST /set/key HTTP/1.1', `Host: ${HOST}`, 'Connection: keep-alive', 'Content-Length: 5'),
  },
  {
    client: 'Python requests',
    get: lines(GET, `Host: ${HOST}`, 'User-Agent: python-requests/2.34.2', 'Accept-Encoding: gzip, deflate', 'Accept: */*', 'Connection: keep-alive'),
    set: lines(
      'POST /set/key HTTP/1.1',
      `Host: ${HOST}`,
      'User-Agent: python-requests/2.34.2',
      'Accept-Encoding: gzip, deflate',
      'Accept: */*',
      'Connection: keep-alive',
      'Content-Length: 5',
    ),
  },
  {
    client: 'Python http.client',
    get: lines(GET, `Host: ${HOST}`, 'Accept-Encoding: identity'),
    set: lines('POST /set/key HTTP/1.1', `Host: ${HOST}`, 'Accept-Encoding: identity', 'Content-Length: 5'),
  },
  {
    client: 'Go net/http',
    get: lines(GET, `Host: ${HOST}`, 'User-Agent: Go-http-client/1.1', 'Accept-Encoding: gzip'),
    set: lines('POST /set/key HTTP/1.1', `Host: ${HOST}`, 'User-Agent: Go-http-client/1.1', 'Content-Length: 5', 'Content-Type: text/plain', 'Accept-Encoding: gzip'),
  },
  {
    client: 'wrk',
    get: lines(GET, `Host: ${HOST}`),
    set: lines('POST /set/key HTTP/1.1', 'Content-Length: 5', `Host: ${HOST}`, 'Content-Type: text/plain'),
  },
  {
    client: 'hey',
    get: lines(GET, `Host: ${HOST}`, 'User-Agent: hey/0.0.1', 'Content-Type: text/html', 'Accept-Encoding: gzip'),
    set: lines('POST /set/key HTTP/1.1', `Host: ${HOST}`, 'User-Agent: hey/0.0.1', 'Content-Length: 5', 'Content-Type: text/html', 'Accept-Encoding: gzip'),
  },
  {
    client: 'autocannon',
    get: lines(GET, `Host: ${HOST}`, 'Connection: keep-alive'),
    set: lines('POST /set/key HTTP/1.1', `Host: ${HOST}`, 'Connection: keep-alive', 'Content-Length: 5'),
  },
];

/** The fields of each client's reads. */
export const CLIENT_FIELDS: readonly (readonly string[])[] = CLIENT_HEADS.map(({ get }) => get.split('\r\n').slice(1, -2));

function lines(...all: readonly string[]): string {
  return `${all.join('\r\n')}\r\n\r\n`;
}
