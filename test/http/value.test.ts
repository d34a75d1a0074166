import { isUtf8 } from 'node:buffer';

import { expect } from 'chai';
import * as fc from 'fast-check';

import { type ErrorCode, isShiplogError } from '../../lib/base/errors.ts';
import { MIB } from '../../lib/base/limits.ts';
import { decodeUtf8 } from '../../lib/http/utf8.ts';
import { type BodyKind, bodyKindOf, decodeValue } from '../../lib/http/value.ts';

describe('the value in a body', () => {
  describe('kinds', () => {
    it('follow the content type', () => {
      expect(kind('application/json')).to.equal('json');
      expect(kind('Application/JSON; charset=UTF-8')).to.equal('json');
      expect(kind('application/x-www-form-urlencoded')).to.equal('form');
      expect(kind('text/plain')).to.equal('text');
      expect(kind('application/octet-stream')).to.equal('text');
      expect(kind('nonsense')).to.equal('text');
      expect(bodyKindOf({})).to.equal('text');
    });

    it('refuse multipart, compression and other charsets', () => {
      const refused = [
        { 'content-type': 'multipart/form-data; boundary=x' },
        { 'content-type': 'text/plain; charset=iso-8859-1' },
        { 'content-type': 'application/json;charset="utf-16"' },
        { 'content-encoding': 'gzip' },
        { 'content-encoding': 'br', 'content-type': 'text/plain' },
      ];
      for (const headers of refused) {
        failure('unsupported-media-type', () => bodyKindOf(headers));
      }
      expect(bodyKindOf({ 'content-encoding': 'identity' })).to.equal('text');
    });
  });

  describe('as JSON', () => {
    it('is exactly one string', () => {
      expect(decode('json', ' "a\\u00e9\\n\\ud83d\\udea2" \n')).to.equal('aé\n🚢');
      expect(decode('json', '""')).to.equal('');
    });

    const cases: readonly (readonly [body: string, message: RegExp])[] = [
      ['', /empty/],
      ['  ', /empty/],
      ['42', /a number/],
      ['null', /is null/],
      ['true', /a boolean/],
      ['["a"]', /an array/],
      ['{"a":1}', /an object/],
      ['value', /"v" at position 0.*-d '"value"'/],
      ['“value”', /typographic quote “ at position 0/],
      ['„value“', /typographic quote/],
      ["'value'", /begins with ' at position 0, expected a double quote/],
      ['"one" "two"', /ends at position 4.*position 6/],
      ['"one",', /"," follows at position 5/],
      ['"open', /position 0 has no closing quote/],
      ['"open\\"', /no closing quote/],
      ['"a\\xb"', /bad escape "\\\\x" at position 2/],
      ['"a\\u12g4"', /bad escape "\\\\u" at position 2/],
      ['"a\nb"', /control character "\\n" at position 2/],
      ['\ufeff"a"', /byte order mark/],
      ['{"a":', /"\{" at position 0/],
    ];
    for (const [body, message] of cases) {
      it(`says what is wrong with ${JSON.stringify(body)}`, () => {
        expect(failure('bad-json', () => decode('json', body))).to.match(message);
      });
    }

    it('refuses lone surrogates, which no UTF-8 text can hold', () => {
      expect(failure('bad-utf8', () => decode('json', '"ab\\ud800"'))).to.match(/\\ud800 as character 2/);
      failure('bad-utf8', () => decode('json', '"\\udc00x"'));
      failure('bad-utf8', () => decode('json', '"\\ud800\\ud800\\udc00"'));
      failure('bad-utf8', () => decodeValue('json', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])));
    });

    it('gives back every string that was written as JSON', () => {
      fc.assert(fc.property(fc.string({ unit: 'binary' }), (value) => decode('json', JSON.stringify(value)) === value));
    });

    it('says something about every text that is no JSON string', () => {
      fc.assert(
        fc.property(fc.oneof(fc.string(), fc.string().map((text) => `"${text}"`), fc.json()), (body) => {
          try {
            return decode('json', body) === JSON.parse(body);
          } catch (error) {
            return isShiplogError(error, 'bad-json') && error.message.length > 20;
          }
        }),
      );
    });
  });

  describe('as a form', () => {
    it('is the one field named value', () => {
      expect(decode('form', 'value=val1')).to.equal('val1');
      expect(decode('form', 'value=')).to.equal('');
      expect(decode('form', 'value=a+b%26c%3Dd=e')).to.equal('a b&c=d=e');
      expect(decode('form', 'value=caf%C3%A9 🚢')).to.equal('café 🚢');
    });

    it('is the body itself where that does not begin with value=', () => {
      expect(decode('form', 'hello')).to.equal('hello');
      expect(decode('form', 'a=b&c=d')).to.equal('a=b&c=d');
      expect(decode('form', '100%+x')).to.equal('100%+x');
      expect(decode('form', '')).to.equal('');
    });

    it('points to --data-urlencode where there is a second field or a bad escape', () => {
      expect(failure('bad-form', () => decode('form', 'value=a&b'))).to.match(/& at position 7.*--data-urlencode/);
      expect(failure('bad-form', () => decode('form', 'value=100%'))).to.match(/"%" at position 9.*--data-urlencode/);
    });

    it('is UTF-8 after decoding', () => {
      failure('bad-utf8', () => decode('form', 'value=%ff'));
      failure('bad-utf8', () => decode('form', 'value=%ed%a0%80'));
    });

    it('gives back every value that was encoded as a form', () => {
      const values = fc.string({ unit: 'binary' });
      fc.assert(fc.property(values, (value) => decode('form', String(new URLSearchParams({ value }))) === value));
    });
  });

  describe('as text', () => {
    it('is exactly the body, a byte order mark included', () => {
      expect(decode('text', '\ufeffa\r\n\0')).to.equal('\ufeffa\r\n\0');
    });

    it('says where it stops being UTF-8', () => {
      expect(failure('bad-utf8', () => decodeValue('text', Buffer.from([0x61, 0xc3, 0x28])))).to.match(/0xc3 at position 1/);
    });

    it('agrees with Node about what UTF-8 is, for any bytes', () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 40 }), (array) => {
          const bytes = Buffer.from(array);
          const decoded = decodeUtf8(bytes);
          if (decoded.ok) return isUtf8(bytes);
          // What comes before the named byte is fine, and with it the text is not.
          return isUtf8(bytes.subarray(0, decoded.index)) && decoded.index < bytes.length && !isUtf8(bytes);
        }),
      );
    });
  });

  it('is refused above 16 MiB of UTF-8, however it was written', () => {
    expect(decodeValue('json', Buffer.from(`"${'x'.repeat(16 * MIB)}"`))).to.have.length(16 * MIB);
    failure('value-too-large', () => decodeValue('json', Buffer.from(`"${'x'.repeat(16 * MIB + 1)}"`)));
    failure('value-too-large', () => decodeValue('form', Buffer.from(`value=${'x'.repeat(16 * MIB + 1)}`)));
  });
});

function kind(contentType: string): BodyKind {
  return bodyKindOf({ 'content-type': contentType });
}

function decode(kind: BodyKind, body: string): string {
  return decodeValue(kind, Buffer.from(body));
}

function failure(code: ErrorCode, act: () => unknown): string {
  try {
    act();
  } catch (error) {
    expect(isShiplogError(error, code), String(error)).to.equal(true);
    return (error as Error).message;
  }
  throw new Error(`nothing was refused, expected ${code}`);
}
