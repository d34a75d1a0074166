import { expect } from 'chai';
import { jsonLines } from '../../lib/client/json-lines.ts';

async function* chunks(...texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text, 'latin1');
}

async function all(body: AsyncIterable<Uint8Array>): Promise<{ documents: unknown[]; failure: unknown }> {
  const documents: unknown[] = [];
  try {
    for await (const document of jsonLines(body)) documents.push(document);
    return { documents, failure: undefined };
  } catch (failure) {
    return { documents, failure };
  }
}

describe('jsonLines', () => {
  it('finds the lines wherever the chunks are cut, also within a character', async () => {
    const text = Buffer.from('{"a":"ü"}\n\n[2]\r\n').toString('latin1');
    for (let cut = 0; cut <= text.length; cut += 1) {
      expect(await all(chunks(text.slice(0, cut), text.slice(cut)))).to.deep.equal({ documents: [{ a: 'ü' }, [2]], failure: undefined });
    }
  });

  it('hands a document over before the next one is there', async () => {
    const gate = Promise.withResolvers<void>();
    const documents = jsonLines(
      (async function* () {
        yield Buffer.from('1\n');
        await gate.promise;
        yield Buffer.from('2\n');
      })(),
    );
    expect((await documents.next()).value).to.equal(1);
    gate.resolve();
    expect((await documents.next()).value).to.equal(2);
  });

  for (const [title, texts, message] of [
    ['a line that is cut', ['1\n{"a"'], /ends in the middle of a line/],
    ['a line that is no JSON', ['1\n', '<html>\n'], /got "<html>", expected JSON/],
    ['a line without end', ['1\n', 'x'.repeat(3 * 1024 * 1024), 'x'.repeat(3 * 1024 * 1024)], /a line of more than 4194304 bytes/],
  ] as const) {
    it(`calls ${title} a protocol error, after what came before it`, async () => {
      const { documents, failure } = await all(chunks(...texts));
      expect(documents).to.deep.equal([1]);
      expect(failure).to.have.property('code', 'peer-protocol');
      expect((failure as Error).message).to.match(message);
    });
  }
});
