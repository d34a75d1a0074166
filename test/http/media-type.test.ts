import { expect } from 'chai';

import { type ValueFormat, negotiateFormat } from '../../lib/http/media-type.ts';

describe('negotiateFormat', () => {
  const cases: readonly (readonly [accept: string | undefined, format: ValueFormat])[] = [
    [undefined, 'text'],
    ['', 'text'],
    ['*/*', 'text'],
    ['application/json', 'json'],
    ['APPLICATION/JSON', 'json'],
    ['application/json; charset=utf-8', 'json'],
    ['application/*', 'json'],
    ['text/plain', 'text'],
    ['text/html', 'text'],
    ['image/png', 'text'],
    ['application/json;q=0', 'text'],
    ['application/json;q=0, */*', 'text'],
    ['application/json;q=0.000, text/*;q=0', 'text'],
    ['text/plain;q=0, */*;q=0.1', 'json'],
    ['application/json;q=0.5, text/plain', 'text'],
    ['application/json, text/plain;q=0.9', 'json'],
    ['application/json, text/plain, */*', 'json'],
    ['text/plain, application/json', 'text'],
    ['*/*, application/json', 'json'],
    ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'text'],
    ['application/*;q=0.2, application/json;q=0.9, text/plain;q=0.5', 'json'],
    ['application/vnd.api+json', 'text'],
    [',,;;q=,', 'text'],
  ];
  for (const [accept, format] of cases) {
    it(`answers ${JSON.stringify(accept)} with ${format}`, () => {
      expect(negotiateFormat(accept)).to.equal(format);
    });
  }
});
