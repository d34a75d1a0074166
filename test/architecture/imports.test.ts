import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect } from 'chai';

const PROJECT = resolve(import.meta.dirname, '../..');
const LIB = join(PROJECT, 'lib');

interface Import {
  readonly file: string;
  readonly folder: string;
  readonly specifier: string;
  readonly isTypeOnly: boolean;
}

const FILES = readdirSync(LIB, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => join(LIB, name));

const IMPORTS: readonly Import[] = FILES.flatMap((file) => importsOf(file));

/** Homes of libraries and of node: modules that reach the outside world. */
const HOMES: Readonly<Record<string, readonly string[]>> = {
  'koa': ['http'],
  '@koa/router': ['http'],
  'better-sqlite3': ['store', 'env'],
  'chokidar': ['config'],
  'zod': ['config'],
  'winston': ['observe'],
  'prom-client': ['observe'],
  'commander': ['cli'],
  'cli-table3': ['cli'],
  'cli-progress': ['cli'],
  'picocolors': ['cli', 'observe'],
  'close-with-grace': ['cli'],
  'node:fs': ['env', 'store', 'cli'],
  'node:fs/promises': ['env', 'cli'],
  'node:http': ['env', 'http'],
  'node:net': ['env', 'http'],
  'node:worker_threads': ['store'],
  'node:child_process': ['cli'],
  'node:perf_hooks': ['observe', 'env', 'bench'],
};

/** Calls that reach past the four interfaces of env. The folders are the libraries' own insides. */
const BANNED_CALLS: readonly { readonly pattern: RegExp; readonly except: readonly string[] }[] = [
  { pattern: /\bDate\.now\(|\bnew Date\(\)/, except: ['env', 'observe'] },
  { pattern: /\bperformance\.now\(/, except: ['env', 'store'] },
  { pattern: /\bprocess\.hrtime\b/, except: ['env'] },
  { pattern: /(?<![.\w])set(Timeout|Interval|Immediate)\(/, except: ['env', 'cli'] },
  { pattern: /\bAbortSignal\.timeout\(/, except: [] },
  { pattern: /timers\/promises/, except: [] },
  { pattern: /\bMath\.random\(|\brandomBytes\(|\brandomUUID\(|\brandomInt\(|\bgetRandomValues\(/, except: ['env'] },
  { pattern: /\bprocess\.(exit|on|once|kill)\(/, except: ['cli'] },
  { pattern: /\b(deflate|inflate|gzip|gunzip|brotliCompress|brotliDecompress)\(/, except: [] },
  { pattern: /(?<![.\w])fetch\(/, except: [] },
];

describe('the architecture', () => {
  const allowed = tableOfImports();

  it('names every folder of lib in its table, and no other', () => {
    const folders = readdirSync(LIB, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => entry.name);
    expect([...allowed.keys()].toSorted()).to.deep.equal(folders.toSorted());
  });

  it('holds: every folder imports only what the table in ARCHITECTURE.md allows', () => {
    const inside = IMPORTS.filter((each) => each.specifier.startsWith('.'));
    expect(inside.length).to.be.greaterThan(300);
    const wrong = inside.filter((each) => {
      const target = folderOf(resolve(dirname(each.file), each.specifier));
      if (target === undefined || target === each.folder) return false;
      const rule = allowed.get(each.folder)!;
      return !rule.folders.has(target) && !(rule.typesOf.has(target) && each.isTypeOnly) && !rule.everything;
    });
    expect(wrong.map(shown)).to.deep.equal([]);
  });

  it('gives each library one home', () => {
    const wrong = IMPORTS.filter((each) => {
      const homes = HOMES[packageOf(each.specifier)];
      return homes !== undefined && !homes.includes(each.folder);
    });
    expect(wrong.map(shown)).to.deep.equal([]);
  });

  it('uses every dependency, and no package that is not one', () => {
    const manifest = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')) as { dependencies: Record<string, string> };
    const used = new Set(IMPORTS.map((each) => packageOf(each.specifier)).filter((name) => !name.startsWith('.') && !name.startsWith('node:')));
    expect([...used].toSorted()).to.deep.equal(Object.keys(manifest.dependencies).toSorted());
  });

  for (const { pattern, except } of BANNED_CALLS) {
    it(`keeps ${pattern.source} ${except.length === 0 ? 'out of lib' : `within ${except.join(', ')}`}`, () => {
      const wrong = FILES.filter((file) => !except.includes(folderOf(file)!) && pattern.test(withoutComments(readFileSync(file, 'utf8'))));
      expect(wrong.map((file) => relative(PROJECT, file))).to.deep.equal([]);
    });
  }

  it('keeps state out of modules: several nodes live in one process', () => {
    const wrong = FILES.filter((file) => /^(export )?(let|var) /m.test(readFileSync(file, 'utf8')) && folderOf(file) !== 'cli');
    expect(wrong.map((file) => relative(PROJECT, file))).to.deep.equal([]);
  });
});

interface Rule {
  readonly folders: ReadonlySet<string>;
  readonly typesOf: ReadonlySet<string>;
  readonly everything: boolean;
}

/** Reads the table of ARCHITECTURE.md: the document is the rule. */
function tableOfImports(): ReadonlyMap<string, Rule> {
  const text = readFileSync(join(PROJECT, 'ARCHITECTURE.md'), 'utf8');
  const rows = text.slice(text.indexOf('| folder | may import |')).matchAll(/^\| ([a-z]+) \| (.+) \|$/gm);
  return new Map(
    [...rows].filter(([, folder]) => folder !== 'folder').map(([, folder, list]) => [
      folder!,
      {
        folders: new Set(list === 'nothing' ? [] : list!.split(', ').filter((name) => /^[a-z]+$/.test(name))),
        typesOf: new Set([...list!.matchAll(/and ([a-z]+) as types/g)].map((match) => match[1]!)),
        everything: list === 'everything',
      },
    ]),
  );
}

function importsOf(file: string): Import[] {
  const text = withoutComments(readFileSync(file, 'utf8'));
  const statements = text.matchAll(/^\s*(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm);
  return [...statements].map((match) => ({ file, folder: folderOf(file)!, specifier: match[2]!, isTypeOnly: match[1] !== undefined }));
}

function folderOf(path: string): string | undefined {
  const inside = relative(LIB, path);
  return inside.startsWith('..') ? undefined : inside.split('/')[0];
}

function packageOf(specifier: string): string {
  if (specifier.startsWith('.') || specifier.startsWith('node:')) return specifier;
  return specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/');
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '$1');
}

function shown({ file, specifier }: Import): string {
  return `${relative(PROJECT, file)} imports ${specifier}`;
}
