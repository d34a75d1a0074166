/**
 * Loaded before everything else in a worker of a mutant: changes the text of the modules that the mutant
 * names. An edit that does not fit exactly once ends the process: a mutant must not become harmless unnoticed.
 */
import { registerHooks } from 'node:module';
import { MUTANTS } from './mutants.ts';

export const MUTANT_VARIABLE = 'SHIPLOG_TEST_MUTANT';

const mutant = MUTANTS.find(({ name }) => name === process.env[MUTANT_VARIABLE]);
if (mutant === undefined) throw new Error(`there is no mutant ${String(process.env[MUTANT_VARIABLE])}`);
const { edits = [] } = mutant;

registerHooks({
  load: (url, context, nextLoad) => {
    const loaded = nextLoad(url, context);
    const own = edits.filter(({ file }) => url.endsWith(`/lib/${file}`));
    if (own.length === 0) return loaded;
    let text = Buffer.from(loaded.source as Uint8Array).toString('utf8');
    for (const { file, from, to } of own) {
      const places = text.split(from).length - 1;
      if (places !== 1) throw new Error(`the mutant ${mutant.name} no longer fits lib/${file}, which has its text ${places} times: ${from.trim()}`);
      text = text.replace(from, () => to);
    }
    return { ...loaded, source: text };
  },
});
