import { expect } from 'chai';

import { isShiplogError } from '../../lib/base/errors.ts';
import type { Position } from '../../lib/base/position.ts';
import { formatETag, judgeRead, writeConditionOf } from '../../lib/http/conditions.ts';

const POSITION: Position = { epochNumber: 1, epochTag: 'c04d', lsn: 42 };

describe('conditions of writes', () => {
  it('are none without headers', () => {
    expect(writeConditionOf({})).to.deep.equal({});
  });

  it('take both forms of our ETags, and lists', () => {
    expect(writeConditionOf({ 'if-match': '"1.c04d-42"' })).to.deep.equal({ ifMatch: [POSITION] });
    expect(writeConditionOf({ 'if-match': '"1.c04d-42+json"' })).to.deep.equal({ ifMatch: [POSITION] });
    expect(writeConditionOf({ 'if-none-match': '"1.c04d-42" ,, "2.0000-7+json",' })).to.deep.equal({
      ifNoneMatch: [POSITION, { epochNumber: 2, epochTag: '0000', lsn: 7 }],
    });
  });

  it('take the star', () => {
    expect(writeConditionOf({ 'if-match': '*', 'if-none-match': ' * ' })).to.deep.equal({ ifMatch: '*', ifNoneMatch: '*' });
  });

  it('compare If-Match strongly and If-None-Match weakly', () => {
    expect(writeConditionOf({ 'if-match': 'W/"1.c04d-42"' })).to.deep.equal({ ifMatch: [] });
    expect(writeConditionOf({ 'if-none-match': 'W/"1.c04d-42"' })).to.deep.equal({ ifNoneMatch: [POSITION] });
  });

  it('never match by an ETag that is not ours', () => {
    expect(writeConditionOf({ 'if-match': '"abc", "", "01.c04d-42", "1.c04d-42,"' })).to.deep.equal({ ifMatch: [] });
  });

  it('refuse what is no list of ETags, for a condition that was not understood must not pass', () => {
    for (const header of ['1.c04d-42', '"open', '"a" "b"', '*, "a"', 'w/"a"', "'a'"]) {
      for (const name of ['if-match', 'if-none-match'] as const) {
        expect(() => writeConditionOf({ [name]: header }), header).to.throw(/expected \* or ETags in double quotes/).that.satisfies(isShiplogError);
      }
    }
  });
});

describe('conditions of reads', () => {
  it('find a copy in the same form still good', () => {
    expect(judgeRead({ 'if-none-match': '"1.c04d-42"' }, POSITION, 'text')).to.equal('not-modified');
    expect(judgeRead({ 'if-none-match': '"x", W/"1.c04d-42+json"' }, POSITION, 'json')).to.equal('not-modified');
    expect(judgeRead({ 'if-none-match': '*' }, POSITION, 'text')).to.equal('not-modified');
  });

  it('send the value where the copy is older or in the other form', () => {
    expect(judgeRead({ 'if-none-match': '"1.c04d-41"' }, POSITION, 'text')).to.equal('send');
    expect(judgeRead({ 'if-none-match': '"1.c04d-42"' }, POSITION, 'json')).to.equal('send');
    expect(judgeRead({}, POSITION, 'json')).to.equal('send');
  });

  it('take If-Match in either form, before If-None-Match', () => {
    expect(judgeRead({ 'if-match': '"1.c04d-42+json"' }, POSITION, 'text')).to.equal('send');
    expect(judgeRead({ 'if-match': '*' }, POSITION, 'text')).to.equal('send');
    expect(judgeRead({ 'if-match': '"1.c04d-41"', 'if-none-match': '*' }, POSITION, 'text')).to.equal('precondition-failed');
  });

  it('write the ETag of each form', () => {
    expect(formatETag(POSITION, 'text')).to.equal('"1.c04d-42"');
    expect(formatETag(POSITION, 'json')).to.equal('"1.c04d-42+json"');
  });
});
