import { expect } from 'chai';
import * as fc from 'fast-check';

import { isShiplogError } from '../../lib/base/errors.ts';
import { decodeKey } from '../../lib/http/key.ts';

describe('decodeKey', () => {
  it('takes a slash and its escape for the same key', () => {
    expect(decodeKey('a/b')).to.equal('a/b');
    expect(decodeKey('a%2Fb')).to.equal('a/b');
    expect(decodeKey('a%2fb')).to.equal('a/b');
  });

  it('decodes once', () => {
    expect(decodeKey('%2541')).to.equal('%41');
  });

  it('leaves a plus a plus', () => {
    expect(decodeKey('a+b')).to.equal('a+b');
  });

  it('takes names that mean something elsewhere as ordinary keys', () => {
    for (const key of ['__proto__', 'constructor', 'toString', '.', '..', '../..', '/', '//', 'a/../b', '*']) {
      expect(decodeKey(key)).to.equal(key);
    }
  });

  it('takes NUL, control characters and emoji', () => {
    expect(decodeKey('%00')).to.equal('\0');
    expect(decodeKey('a%0d%0ab')).to.equal('a\r\nb');
    expect(decodeKey('%F0%9F%9A%A2')).to.equal('🚢');
  });

  it('takes bytes that should have been escaped as they are', () => {
    expect(decodeKey(Buffer.from('café🚢').toString('latin1'))).to.equal('café🚢');
  });

  it('refuses an empty key', () => {
    expect(messageOf('')).to.match(/empty/);
  });

  it('takes 1024 bytes and refuses 1025, counted after decoding', () => {
    expect(decodeKey('k'.repeat(1024))).to.have.length(1024);
    expect(decodeKey('%6b'.repeat(1024))).to.have.length(1024);
    expect(messageOf('k'.repeat(1025))).to.match(/1025 bytes long, expected at most 1024/);
    expect(messageOf('%6b'.repeat(1025))).to.match(/1025 bytes/);
    expect(decodeKey('%C3%A9'.repeat(512))).to.have.length(512);
    expect(messageOf('%C3%A9'.repeat(513))).to.match(/1026 bytes/);
  });

  it('says which escape is bad, and where', () => {
    expect(messageOf('ab%zzc')).to.match(/"%zz" at position 2/);
    expect(messageOf('a%')).to.match(/"%" at position 1/);
    expect(messageOf('a%4')).to.match(/"%4" at position 1/);
    expect(messageOf('%%41')).to.match(/"%%4" at position 0/);
    expect(messageOf('%u0041')).to.match(/"%u0" at position 0/);
  });

  it('says which byte is no UTF-8, and where', () => {
    expect(messageOf('ab%FF')).to.match(/0xff at position 2/);
    for (const invalid of ['%C0%80', '%C3', '%E2%82', '%ED%A0%80', '%F4%90%80%80', '%80', '%E0%80%80', '%F0%8F%BF%BF', '%F5%80%80%80']) {
      expect(messageOf(`ok${invalid}`), invalid).to.match(/at position 2/);
    }
  });

  it('gives back every key that was encoded the usual way', () => {
    const keys = fc.string({ unit: 'binary', minLength: 1, maxLength: 200 }).filter((key) => key.isWellFormed());
    fc.assert(fc.property(keys, (key) => decodeKey(encodeURIComponent(key)) === key));
  });

  it('never returns anything but a well-formed key, whatever it is given', () => {
    const raw = fc.uint8Array({ maxLength: 1100 }).map((bytes) => Buffer.from(bytes).toString('latin1'));
    fc.assert(
      fc.property(raw, (rawKey) => {
        try {
          const key = decodeKey(rawKey);
          return key.isWellFormed() && Buffer.byteLength(key) >= 1 && Buffer.byteLength(key) <= 1024;
        } catch (error) {
          return isShiplogError(error, 'bad-key');
        }
      }),
    );
  });
});

function messageOf(rawKey: string): string {
  try {
    decodeKey(rawKey);
  } catch (error) {
    expect(isShiplogError(error, 'bad-key')).to.equal(true);
    return (error as Error).message;
  }
  throw new Error(`${JSON.stringify(rawKey)} was taken for a key`);
}
