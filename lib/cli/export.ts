import { once } from 'node:events';
import { dirname } from 'node:path';
import type { Writable } from 'node:stream';
import type { Command } from 'commander';
import { ShiplogError } from '../base/errors.ts';
import type { ExportFooter } from '../base/export-document.ts';
import { ExportDownload } from '../client/export-download.ts';
import { type Disk, writeFully } from '../env/disk.ts';
import { type CommandContext, JSON_OPTION, URL_OPTION, defaultUrl, parseMin, parseText } from './command-context.ts';
import { readableBytes } from './terminal.ts';

interface ExportOptions {
  readonly url?: string;
  readonly prefix?: string;
  readonly min?: string;
  readonly json?: boolean;
}

/** `results` is where lines go that go to no file. */
export function addExportCommand(program: Command, context: CommandContext, results: Writable): void {
  program
    .command('export')
    .summary('write all keys and values as lines of JSON')
    .description('Writes all keys and values, as they are at one position, as lines of JSON. Writes go on meanwhile.')
    .argument('[file]', 'where the lines go; must not exist; - is standard output', '-')
    .option(...URL_OPTION)
    .option('--prefix <prefix>', 'only keys that begin so', parseText)
    .option('--min <position>', 'wait until the node shows this position, as a write printed it', parseMin)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
The first line is a header with the position, the last one a footer with the count; between them stands one line
for each key, in the order of the keys: {"key":"…","value":"…"}. \`shiplog import\` takes it. A file has its name only
when it is complete; until then it is called FILE.part.

Examples:
  $ shiplog export all.ndjson --url http://127.0.0.1:4466
  $ shiplog export --prefix user/ | jq -r 'select(.key) | .value'
  $ shiplog export | shiplog import - --url http://other.example:4455`,
    )
    .action(async (file: string, { url, prefix, min, json }: ExportOptions) => {
      const { terminal, environment } = context;
      const { transport, clock, disk } = environment;
      const download = new ExportDownload({ transport, clock, url: url ?? defaultUrl(context), ...(prefix !== undefined && { prefix }), ...(min !== undefined && { min }) });
      if (file === '-') {
        if (json === true) throw new ShiplogError('bad-request', 'with --json, name a file: standard output has the export itself');
        await writeTo(results, download);
        return;
      }
      if (await disk.exists(file)) throw new ShiplogError('bad-request', `${file} exists already: name another file, or remove it first`);
      const bar = terminal.progress('export', (keys) => `${keys} keys`);
      try {
        const { count, position } = await writeToFile(disk, file, download, () => {
          const { keys, totalKeys } = download.progress;
          if (totalKeys !== undefined) bar.show(Math.min(keys, totalKeys), totalKeys);
        });
        bar.stop();
        const { sizeBytes } = download.progress;
        if (json === true) terminal.json({ file, keys: count, sizeBytes, position });
        else terminal.success(`${file}: ${count} keys at ${position}, ${readableBytes(sizeBytes)}`);
      } finally {
        bar.stop();
      }
    });
}

/** Made aside, synced, renamed, directory synced: a file with this name is complete, also after a power cut. */
async function writeToFile(disk: Disk, file: string, download: ExportDownload, onProgress: () => void): Promise<ExportFooter> {
  const aside = `${file}.part`;
  const opened = await disk.open(aside, { mode: 'create' });
  try {
    await opened.truncate(0);
    const chunks = download.chunks();
    let offset = 0;
    for (;;) {
      const { done, value } = await chunks.next();
      if (done === true) {
        await opened.sync();
        await opened.close();
        await disk.rename(aside, file);
        await disk.syncDirectory(dirname(file));
        return value;
      }
      await writeFully(opened, offset, value);
      offset += value.length;
      onProgress();
    }
  } catch (error) {
    // It can't be gone on with: the next export is of another position.
    await opened.close().catch(() => {});
    await disk.remove(aside).catch(() => {});
    throw error;
  }
}

async function writeTo(results: Writable, download: ExportDownload): Promise<void> {
  let isGone = false;
  const gone = new Promise<void>((resolve) => {
    results.once('error', () => {
      isGone = true;
      resolve();
    });
  });
  for await (const chunk of download.chunks()) {
    // `| head`: whoever read it has seen enough.
    if (isGone) return;
    if (!results.write(chunk)) await Promise.race([once(results, 'drain'), gone]);
  }
}
