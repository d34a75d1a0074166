import type { NodeStatus } from '../node/node-api.ts';

/** `GET /`: what this is and what it can be asked, on one screen. */
export function welcomePage({ name, role, version, url }: NodeStatus): string {
  return `Shiplog ${version}, a replicated key-value store over HTTP.
This is ${name}, a ${role}, at ${url}

Try:
  curl ${url}/set/greeting -d "value=hello"
  curl ${url}/get/greeting
  curl -X DELETE ${url}/del/greeting

Calls:
  POST   /set/<key>   stores the body: text, one JSON string, or the form field "value" (PUT does the same)
  GET    /get/<key>   answers the value; as a JSON string with "Accept: application/json"
  DELETE /del/<key>   removes the key
         ?ack=1       on a write: answered when a replica has it too (memory, local, a number, all)
         ?min=<pos>   answered when this node shows that Shiplog-Position
  POST   /batch, /mget   many keys in one request    GET /export, POST /import   all keys, as lines of JSON
  GET    /status      positions, members and followers of this node, as JSON
  GET    /healthz     200 while this node works      /readyz?max_lag=5s   200 while it is fresh enough too
  GET    /primary     200 on the primary             /replica?max_lag=5s  200 on a fresh replica
  GET    /metrics     for Prometheus             /wal?after=0         the log, as a stream without end
  GET    /snapshot    the whole store as one SQLite file: curl -O is a backup

A key is everything after /get/, /set/ or /del/: 1 to 1024 bytes of UTF-8, percent-encoded where a URL needs it.
Errors are application/problem+json; "code" is stable, "detail" says what to do.
`;
}
