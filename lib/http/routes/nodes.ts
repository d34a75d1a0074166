/** What nodes ask of each other; the log and the snapshot are open to people too. */
import type { Router } from '@koa/router';

import type { NodeApi } from '../../node/node-api.ts';
import type { HttpState } from '../http-context.ts';
import type { NodeRoute } from '../transport-adapter.ts';
import type { TransportHandler } from '../../env/transport.ts';

export function addNodeRoutes(router: Router<HttpState>, node: NodeApi, adapt: (handler: TransportHandler) => NodeRoute): void {
  router.get('/wal', adapt((request) => node.serveLog(request)));
  router.get('/snapshot', adapt((request) => node.serveSnapshot(request)));
  router.register('/peer/', ['GET', 'POST', 'PUT', 'DELETE'], adapt((request) => node.servePeer(request)));
}
