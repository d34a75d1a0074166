/**
 * Transcripts: files of commands with what they say, as a reader would see them on a terminal.
 *
 *   # The story, in words.          a comment; the first paragraph says what went wrong elsewhere
 *                                   and what must happen here
 *   > promote b                     a command
 *     refused (promotion-refused)   what it must say, two spaces in
 *
 * A transcript is right where playing its commands gives the same text again. This module knows
 * nothing of what the commands mean.
 */
export interface TranscriptCommand {
  readonly text: string;
  readonly lineNumber: number;
}

type Line = { readonly kind: 'text'; readonly text: string } | { readonly kind: 'command'; readonly command: TranscriptCommand };

export interface Transcript {
  readonly name: string;
  /** The first line of the story, without its mark. */
  readonly title: string;
  readonly commands: readonly TranscriptCommand[];
  /** Comments, blank lines and commands: everything but what the commands are expected to say. */
  readonly lines: readonly Line[];
}

export class TranscriptError extends Error {
  constructor(name: string, lineNumber: number, message: string, cause?: unknown) {
    super(`${name}:${lineNumber}: ${message}`, { cause });
  }
}

const COMMAND = '> ';
const OUTPUT = '  ';
const COMMENT = '#';

/** @throws TranscriptError for a line that is none of the four kinds, and for output that no command could have. */
export function parseTranscript(name: string, text: string): Transcript {
  const lines: Line[] = [];
  let isAfterCommand = false;
  for (const [index, line] of text.replace(/\n$/, '').split('\n').entries()) {
    const lineNumber = index + 1;
    if (line.startsWith(COMMAND)) {
      lines.push({ kind: 'command', command: { text: line.slice(COMMAND.length).trim(), lineNumber } });
      isAfterCommand = true;
      continue;
    }
    if (line.startsWith(OUTPUT)) {
      if (!isAfterCommand) throw new TranscriptError(name, lineNumber, 'output is expected here, but of no command');
      continue;
    }
    if (line !== '' && !line.startsWith(COMMENT)) throw new TranscriptError(name, lineNumber, `neither a comment (#), a command (>) nor output (two spaces): ${JSON.stringify(line)}`);
    lines.push({ kind: 'text', text: line });
    isAfterCommand = false;
  }
  const [first] = lines;
  if (first?.kind !== 'text' || !/^# \S/.test(first.text)) throw new TranscriptError(name, 1, 'a transcript begins with a comment that tells its story');
  return { name, title: first.text.slice(2), commands: lines.flatMap((line) => (line.kind === 'command' ? [line.command] : [])), lines };
}

/** Carries out one command. @returns what it says. */
export type Perform = (text: string) => Promise<readonly string[]>;

/** Plays the commands. @returns the transcript with what they said. @throws TranscriptError where one can't be carried out. */
export async function playTranscript(transcript: Transcript, perform: Perform): Promise<string> {
  const played: string[] = [];
  for (const line of transcript.lines) {
    if (line.kind === 'text') {
      played.push(line.text);
      continue;
    }
    const { text, lineNumber } = line.command;
    played.push(COMMAND + text);
    try {
      for (const said of await perform(text)) played.push(OUTPUT + said);
    } catch (error) {
      throw new TranscriptError(transcript.name, lineNumber, `${text}: ${(error as Error).message}\nbefore that:\n${played.join('\n')}`, error);
    }
  }
  return `${played.join('\n')}\n`;
}

/** Should what was said become what is expected? @throws Error where nobody could look at the difference. */
export function isUpdateWanted(environment: Readonly<Record<string, string | undefined>>): boolean {
  const isWanted = (environment['UPDATE_TRANSCRIPTS'] ?? '') !== '';
  if (isWanted && (environment['CI'] ?? '') !== '') throw new Error('UPDATE_TRANSCRIPTS would make every transcript right: not where CI is set');
  return isWanted;
}
