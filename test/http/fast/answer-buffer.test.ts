import { once } from 'node:events';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';
import { expect } from 'chai';

import { AnswerBuffer } from '../../../lib/http/fast/answer-buffer.ts';
import { WriteShortcut } from '../../../lib/http/fast/write-shortcut.ts';

describe('AnswerBuffer', () => {
  it('sends what was added, and is empty then', async () => {
    const { near, far, close } = await pair();
    const buffer = new AnswerBuffer();
    buffer.addText('žluť ', false);
    for (const value of [0, 9, 10, 99, 100, 12_345, Number.MAX_SAFE_INTEGER]) {
      buffer.addDecimal(value);
      buffer.addText(' ', true);
    }
    buffer.addBytes(Buffer.from('abcdef'), 2, 4);
    buffer.sendTo(new WriteShortcut(near, () => {}));
    expect(buffer.length).to.equal(0);
    near.end();
    const text = await received(far);
    close();
    expect(text).to.equal('žluť 0 9 10 99 100 12345 9007199254740991 cd');
  });

  it('leaves to a socket what the system has not taken yet, whatever is added then', async () => {
    const { near, far, close } = await pair();
    far.pause();
    const buffer = new AnswerBuffer();
    let expected = '';
    let drains = 0;
    const socket = new WriteShortcut(near, () => (drains += 1));
    for (let index = 0, heldBytes = 0; heldBytes < 2_000_000; index += 1) {
      // Some of them larger than the buffer begins with.
      const text = `${index % 10}`.repeat(index % 7 === 0 ? 200_000 : 50_000);
      expected += text;
      buffer.addText(text, true);
      buffer.sendTo(socket);
      if (socket.isBusy) heldBytes += text.length;
    }
    expect(drains).to.equal(0);
    near.end();
    far.resume();
    const text = await received(far);
    close();
    expect(text === expected, 'the bytes that were added').to.equal(true);
    expect({ drains, isBusy: socket.isBusy }).to.deep.equal({ drains: 1, isBusy: false });
  });

  it('waits no longer for what the system will not take any more', async () => {
    const { near, far, close } = await pair();
    far.pause();
    const socket = new WriteShortcut(near, () => expect.fail('it was not taken'));
    while (!socket.isBusy) socket.write(Buffer.alloc(1_000_000));
    near.destroy();
    await once(near, 'close');
    expect(socket.isBusy).to.equal(false);
    socket.write(Buffer.from('more'));
    expect(socket.isBusy).to.equal(false);
    close();
  });
});

async function pair(): Promise<{ near: Socket; far: Socket; close: () => void }> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const far = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [near] = (await once(server, 'connection')) as [Socket];
  return {
    near,
    far,
    close: () => {
      near.destroy();
      far.destroy();
      server.close();
    },
  };
}

async function received(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
