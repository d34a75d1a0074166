/**
 * Stories of things that went wrong elsewhere, or could, and of what must happen here. Each *.txt is
 * played on whole nodes and must come out word for word.
 */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect } from 'chai';
import { Stage } from './stage.ts';
import { isUpdateWanted, parseTranscript, playTranscript } from './transcript.ts';
import { assertJudged, perform } from './vocabulary.ts';

const FILES = readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith('.txt'))
  .map((name) => join(import.meta.dirname, name));

/** Of the list in the design: each has a story at least. */
const BUGS = ['B12', 'B13', 'B14', 'B15', 'B16', 'B17', 'B18', 'B19', 'B20', 'B21', 'B26'];

describe('scenarios', () => {
  const isUpdate = isUpdateWanted(process.env);

  for (const path of FILES) {
    const name = basename(path);
    const text = readFileSync(path, 'utf8');
    const transcript = parseTranscript(name, text);

    it(transcript.title, async () => {
      assertJudged(transcript.commands);
      const stage = new Stage(1);
      try {
        const played = await playTranscript(transcript, (command) => perform(stage, command));
        if (isUpdate && played !== text) writeFileSync(path, played);
        else expect(played, name).to.equal(text);
      } finally {
        stage.close();
      }
    });
  }

  it('tell of each bug that was seen elsewhere', () => {
    const told = FILES.flatMap((path) => parseTranscript(basename(path), readFileSync(path, 'utf8')).title.match(/\bB\d+\b/g) ?? []);
    expect(told).to.include.members(BUGS);
  });
});
