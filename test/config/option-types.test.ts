import { expect } from 'chai';
import * as fc from 'fast-check';
import { duration, flag, formatDuration, formatSize, integer, listOf, nodeUrl, size } from '../../lib/config/option-types.ts';

const KIB = 1024;

describe('option types', () => {
  const accepted = [
    ['size', size(0, 2 ** 40), '64KiB', 64 * KIB],
    ['size', size(0, 2 ** 40), '1.5MiB', 1536 * KIB],
    ['size', size(0, 2 ** 40), '2 GiB', 2 * KIB ** 3],
    ['size', size(0, 2 ** 40), '512B', 512],
    ['size', size(0, 2 ** 40), '4096', 4096],
    ['size', size(0, 2 ** 40), 4096, 4096],
    ['duration', duration(0, 1e9), '500ms', 500],
    ['duration', duration(0, 1e9), '5s', 5_000],
    ['duration', duration(0, 1e9), '0.5s', 500],
    ['duration', duration(0, 1e9), '10m', 600_000],
    ['duration', duration(0, 1e9), '24h', 86_400_000],
    ['duration', duration(0, 1e9), '7d', 604_800_000],
    ['duration', duration(0, 1e9), 250, 250],
    ['integer', integer(0, 65_535), '4455', 4455],
    ['integer', integer(0, 65_535), 0, 0],
    ['flag', flag(), 'true', true],
    ['flag', flag(), '0', false],
    ['flag', flag(), true, true],
    ['url', nodeUrl(), 'http://10.0.0.1:4455/', 'http://10.0.0.1:4455'],
    ['url', nodeUrl(), 'http://[::1]:4455', 'http://[::1]:4455'],
  ] as const;
  for (const [name, type, raw, value] of accepted) {
    it(`takes ${JSON.stringify(raw)} as the ${name} ${JSON.stringify(value)}`, () => {
      expect(type.parse(raw)).to.equal(value);
    });
  }

  const refused = [
    ['size', size(0, 2 ** 40), ['64kb', '64 M', '-1', '1.3B', '', 'KiB', -1, 1.5, null, true, '9999999TiB', '1e6']],
    ['duration', duration(0, 1e9), ['5 sec', '5min', '1.0001s', '-5s', 's', 0.5, NaN, [], '100d']],
    ['integer', integer(1, 65_535), ['0', '65536', '1.5', ' 1', '0x10', '', true, 1.5, null]],
    ['flag', flag(), ['yes', 'TRUE', '', 1, 0, null]],
    ['url', nodeUrl(), ['10.0.0.1:4455', 'https://a:1', 'http://a:1/path', 'http://u:p@a:1', 'http://a:1?x', 'http://', 7]],
  ] as const;
  for (const [name, type, values] of refused) {
    for (const raw of values) {
      it(`refuses ${JSON.stringify(raw)} as ${name}`, () => {
        expect(type.safeParse(raw).success).to.equal(false);
      });
    }
  }

  it('splits text at commas and leaves a list as it is', () => {
    const urls = listOf(nodeUrl());
    expect(urls.parse('http://a:1,http://b:2')).to.deep.equal(['http://a:1', 'http://b:2']);
    expect(urls.parse(['http://a:1'])).to.deep.equal(['http://a:1']);
    expect(urls.parse('')).to.deep.equal([]);
  });

  it('reads back every size and duration that it writes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 45 }), (value) => {
        expect(size(0, 2 ** 50).parse(formatSize(value))).to.equal(value);
        expect(duration(0, 2 ** 50).parse(formatDuration(value))).to.equal(value);
      }),
      { examples: [[0], [1024], [64 * KIB * KIB], [86_400_000], [1000]] },
    );
  });
});
