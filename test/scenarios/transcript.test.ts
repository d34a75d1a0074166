/** A transcript that can't fail shows nothing: what the interpreter must refuse. */
import { expect } from 'chai';
import { Stage } from './stage.ts';
import { isUpdateWanted, parseTranscript, playTranscript } from './transcript.ts';
import { assertJudged, perform } from './vocabulary.ts';

async function play(...lines: string[]): Promise<string> {
  const stage = new Stage(1);
  try {
    return await playTranscript(parseTranscript('story.txt', ['# A story', ...lines].join('\n')), (command) => perform(stage, command));
  } finally {
    stage.close();
  }
}

async function failureOf(...lines: string[]): Promise<string> {
  return await play(...lines).then(
    (played) => `came out as ${played}`,
    (error: Error) => error.message.split('\nbefore that:')[0]!,
  );
}

const PAIR = ['> machines a b', '> start a', '> start b following a', '> set k=1 at a ack=1', '> wait 2s'];
const THREE = ['> machines a b c', '> start a', '> start b following a', '> start c following a', '> set k=1 at a ack=2', '> wait 2s'];

describe('a transcript', () => {
  it('comes out as what its commands say, whatever it expects', async () => {
    const played = await play('> machines a', '> start a', '  a is a teapot', '', '# That was all.', '> set k=1 at a', '  OK', '  and more');
    expect(played).to.equal('# A story\n> machines a\n> start a\n  a is primary, at 1.e1-1\n\n# That was all.\n> set k=1 at a\n  OK at 1.e1-2\n');
  });

  it('with an unknown command fails, and says which there are', async () => {
    expect(await failureOf('> machines a', '> restart a')).to.match(/^story\.txt:3: restart a: unknown command "restart a"; there are:\n[^]*start a/);
    expect(await failureOf('> machines a', '> begin restart a')).to.contain('unknown command "restart a"');
    expect(await failureOf('> machines a', '> start z')).to.contain('there is no machine z');
  });

  it('with output that no command could have, or with a line of no kind, is not read', () => {
    expect(() => parseTranscript('story.txt', '# A story\n\n  OK')).to.throw('story.txt:3: output is expected here, but of no command');
    expect(() => parseTranscript('story.txt', '# A story\n> start a\n# aside\n  OK')).to.throw('story.txt:4');
    expect(() => parseTranscript('story.txt', '# A story\nstart a')).to.throw('story.txt:2: neither a comment');
    expect(() => parseTranscript('story.txt', '> start a')).to.throw('begins with a comment that tells its story');
  });

  it('has to look at what the nodes did, and to end with their end', () => {
    const commands = (...texts: string[]): { text: string }[] => texts.map((text) => ({ text }));
    expect(() => assertJudged(commands('machines a', 'wait 5s', 'begin status'))).to.throw('no command looks');
    expect(() => assertJudged(commands('machines a', 'status'))).to.throw('ends with "end"');
    expect(() => assertJudged(commands('machines a', 'end without a'))).to.throw('unknown command');
    assertJudged(commands('machines a', 'start a', 'end without a: it is made of cheese'));
  });

  it('is rewritten only where somebody asks for it, and never where CI is set', () => {
    expect(isUpdateWanted({})).to.equal(false);
    expect(isUpdateWanted({ CI: '1' })).to.equal(false);
    expect(isUpdateWanted({ UPDATE_TRANSCRIPTS: '1' })).to.equal(true);
    expect(() => isUpdateWanted({ UPDATE_TRANSCRIPTS: '1', CI: 'true' })).to.throw('not where CI is set');
  });
});

describe('the end of a story', () => {
  it('fails where nothing was acknowledged', async () => {
    expect(await failureOf('> machines a', '> start a', '> end')).to.contain('no write was acknowledged');
  });

  it('fails where the nodes do not become equal', async () => {
    expect(await failureOf(...PAIR, '> cut a from b', '> set l=1 at a', '> end')).to.contain('the nodes do not become equal:\na is primary, at 1.e1-3\nb is following a, at 1.e1-2');
  });

  it('fails where an acknowledged write is neither in the table nor set aside', async () => {
    const lose = [...PAIR, '> cut a from b', '> set alone=1 at a', '> crash a', '> disk a unmounted', '> wait 12s', '> promote b', '> heal', '> start a following b'];
    expect(await failureOf(...lose, '> end')).to.contain('acknowledged and lost: alone=1');
    expect(await play(...lose, '> end without a: its disk is gone')).to.contain('acknowledged writes: 1 in the table, 1 not here: alone=1');
  });

  it('fails where a confirmed write is set aside though nobody forced a promotion', async () => {
    const rollBack = ['b', 'c'].flatMap((name) => [`> crash ${name}`, `> disk ${name} roll back`, `> start ${name}`]);
    const failure = await failureOf(...THREE, '> stop b', '> disk b snapshot', '> start b', '> stop c', '> disk c snapshot', '> start c', '> set l=1 at a ack=2', '> crash a', ...rollBack, '> promote b', '> start a', '> end');
    expect(failure).to.contain('confirmed by replicas and not in the table, though no promotion was forced: l=1');
  });
});
