/**
 * A table as lines of JSON, for `GET /export` and `POST /import`:
 *
 *   {"type":"header","format":1,"clusterId":"…","position":"1.c04d-42","keys":2}
 *   {"key":"a","value":"1"}                  in the order of the keys' bytes
 *   {"key":"b","value":"2"}
 *   {"type":"footer","count":2,"position":"1.c04d-42"}
 *
 * Without its last line it is not all. Where it is broken off, the last line is `{"type":"failed", …}`, or a piece of one.
 */
export const EXPORT_FORMAT = 1;

export interface ExportHeader {
  readonly type: 'header';
  readonly format: number;
  readonly clusterId: string;
  /** Of the whole content. */
  readonly position: string;
  /** In the whole table, also where `prefix` leaves only some of them. */
  readonly keys: number;
  readonly prefix?: string;
}

export interface ExportFooter {
  readonly type: 'footer';
  /** Lines between header and footer. */
  readonly count: number;
  readonly position: string;
}

export interface ExportFailure {
  readonly type: 'failed';
  readonly code: string;
  readonly message: string;
}
