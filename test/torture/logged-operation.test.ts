import { expect } from 'chai';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

import type { DecodedFrame } from '../support/second-decoder.ts';
import { operationsOf, parseSalvage, readSalvage } from './logged-operation.ts';

const HEADER = '{"format":1,"isComplete":true}';
const PUT = '{"position":"1.c04d-7","wallMs":1,"kind":"put","key":"k","value":"v"}';
const DELETE = '{"position":"1.c04d-8","wallMs":1,"kind":"delete","key":"k"}';
const END = '{"position":"1.c04d-9","wallMs":1,"kind":"epoch-end"}';

describe('logged operations', () => {
  describe('of a salvage file', () => {
    it('are its puts and deletes', () => {
      expect(parseSalvage(fileOf([HEADER, PUT, DELETE, END]))).to.deep.equal([
        { position: '1.c04d-7', key: 'k', value: 'v' },
        { position: '1.c04d-8', key: 'k', value: null },
      ]);
    });

    it('are not taken from a file that is cut off, at any byte', () => {
      const text = fileOf([HEADER, PUT, DELETE]);
      for (let length = 0; length < text.length; length += 1) expect(() => parseSalvage(text.slice(0, length)), `${length} bytes`).to.throw();
    });

    it('are not taken from a file with another line, one missing, or one changed', () => {
      const text = fileOf([HEADER, PUT, DELETE]);
      expect(() => parseSalvage(text.replace(`${PUT}\n`, ''))).to.throw('counts 2 operations, there are 1');
      expect(() => parseSalvage(text.replace(PUT, `${PUT}\n${PUT}`))).to.throw('counts 2 operations, there are 3');
      expect(() => parseSalvage(text.replace('"v"', '"w"'))).to.throw('CRC-32');
    });

    it('are not taken from a file of another format, an incomplete one, or an unknown kind', () => {
      expect(() => parseSalvage(fileOf(['{"format":2,"isComplete":true}', PUT]))).to.throw('format 2');
      expect(() => parseSalvage(fileOf(['{"format":1,"isComplete":false}', PUT]))).to.throw('not complete');
      expect(() => parseSalvage(fileOf([HEADER, PUT.replace('"put"', '"merge"')]))).to.throw('merge');
    });

    it('are found in all files of a node but those half written, and a broken one is named', () => {
      const directory = mkdtempSync(join(tmpdir(), 'shiplog-salvage-'));
      try {
        expect(readSalvage(directory)).to.deep.equal([]);
        mkdirSync(join(directory, 'salvage'));
        writeFileSync(join(directory, 'salvage/1.c04d-7.ndjson'), fileOf([HEADER, PUT]));
        writeFileSync(join(directory, 'salvage/1.c04d-8.ndjson'), fileOf([HEADER, DELETE]));
        writeFileSync(join(directory, 'salvage/1.c04d-9.ndjson.tmp'), HEADER);
        expect(readSalvage(directory).map(({ position }) => position)).to.deep.equal(['1.c04d-7', '1.c04d-8']);
        writeFileSync(join(directory, 'salvage/1.c04d-9.ndjson'), HEADER);
        expect(() => readSalvage(directory)).to.throw('1.c04d-9.ndjson: the last line is cut off');
      } finally {
        rmSync(directory, { recursive: true });
      }
    });
  });

  describe('of a log', () => {
    const tags = new Map([
      [1, '1.c04d'],
      [2, '2.aaaa'],
    ]);

    it('are those of the range, each at the position that its epoch gives it', () => {
      const frames = [frameOf(1, 5, ['a', 'b']), frameOf(2, 7, ['c']), frameOf(2, 8, ['d'])];
      expect(operationsOf(frames, { afterLsn: 5, throughLsn: 7, epochTags: tags })).to.deep.equal([
        { position: '1.c04d-6', key: 'b', value: 'of b' },
        { position: '2.aaaa-7', key: 'c', value: 'of c' },
      ]);
    });

    it('are not taken from a log that has a gap, begins too late or ends too early', () => {
      const frames = [frameOf(1, 5, ['a']), frameOf(1, 7, ['c'])];
      expect(() => operationsOf(frames, { afterLsn: 4, throughLsn: 7, epochTags: tags })).to.throw('goes on with LSN 7, expected 6');
      expect(() => operationsOf(frames, { afterLsn: 3, throughLsn: 5, epochTags: tags })).to.throw('goes on with LSN 5, expected 4');
      expect(() => operationsOf(frames, { afterLsn: 6, throughLsn: 8, epochTags: tags })).to.throw('ends with LSN 7, expected 8');
      expect(() => operationsOf([], { afterLsn: 6, throughLsn: 8, epochTags: tags })).to.throw('ends with LSN 6, expected 8');
    });

    it('are not taken from an epoch that the history does not name', () => {
      expect(() => operationsOf([frameOf(3, 1, ['a'])], { afterLsn: 0, throughLsn: 1, epochTags: tags })).to.throw('epoch 3');
    });
  });
});

function fileOf(lines: readonly string[]): string {
  const text = `${lines.join('\n')}\n`;
  return `${text}${JSON.stringify({ footer: true, operations: lines.length - 1, crc32: crc32(text).toString(16).padStart(8, '0') })}\n`;
}

function frameOf(epoch: number, firstLsn: number, keys: readonly string[]): DecodedFrame {
  return {
    epoch,
    firstLsn,
    lastLsn: firstLsn + keys.length - 1,
    lsns: keys.map((_, index) => firstLsn + index),
    operations: keys.map((key) => ({ kind: 'put', key, value: `of ${key}` })),
    wallMs: 0,
    chain: 0,
    file: '',
    offset: 0,
    endOffset: 0,
    bytes: Buffer.alloc(0),
  };
}
