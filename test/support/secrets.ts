import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { isSmartVMError } from '../../ts/errors.js';
import { run } from '../../ts/util/run.js';

/** Strings that nobody else has, given where secrets are given, and looked for where they must not come to. */
export class Secrets {
  readonly #values = new Map<string, string>();

  make(name: string): string {
    const value = `secret-${name}-${randomUUID()}`;
    this.#values.set(name, value);
    return value;
  }

  get(name: string): string {
    return this.#values.get(name) ?? this.make(name);
  }

  /** The names of those that are in a text. */
  in(text: string): string[] {
    return [...this.#values].filter(([, value]) => text.includes(value)).map(([name]) => name);
  }

  /** The names of those that an error or another value shows when it is printed, whoever prints it and however deep. */
  shownBy(value: unknown): string[] {
    const printed = inspect(value, { depth: Number.POSITIVE_INFINITY, maxStringLength: null, showHidden: true });
    const { details, cause } = (value ?? {}) as { details?: unknown; cause?: unknown };
    return this.in([printed, String(value), JSON.stringify([details, `${cause}`])].join('\n'));
  }

  /** The files below a directory that have one of them in it. */
  async inFiles(directory: string): Promise<string[]> {
    return await filesWith([...this.#values.values()], directory);
  }
}

/** Paths of the regular files below a directory that have one of these strings in them. */
export async function filesWith(strings: readonly string[], directory: string): Promise<string[]> {
  // The strings by standard input: the command line is one of the places that they must not be in.
  const search = ['--recursive', '--files-with-matches', '--fixed-strings', '--text', '--devices=skip', '--file=-'];
  for (;;) {
    const output = await run('grep', [...search, '--', directory], { input: strings.join('\n') }).catch((error) => {
      if (!isSmartVMError(error, 'TOOL_FAILED')) {
        throw error;
      }
      if (error.details.exitCode === 1) {
        return ''; // it found none
      }
      if (/No such file or directory/.test(error.message)) {
        return undefined; // what was there has got its name meanwhile: it is looked at again
      }
      throw error;
    });
    if (output !== undefined) {
      return output.toString().split('\n').filter(Boolean);
    }
  }
}

/** Looks at the command lines and environments of all processes of the host but this one, again and again until it is ended. */
export class ProcessWatch {
  readonly #secrets: Secrets;
  readonly #found = new Set<string>();
  #looks = 0;
  #ended = false;
  readonly #loop: Promise<void>;

  constructor(secrets: Secrets) {
    this.#secrets = secrets;
    this.#loop = this.#watch();
  }

  /** What was found, as `name in program's environ`, and how often was looked. */
  async end(): Promise<{ found: string[]; looks: number }> {
    this.#ended = true;
    await this.#loop;
    return { found: [...this.#found], looks: this.#looks };
  }

  async #watch(): Promise<void> {
    while (!this.#ended) {
      this.#look();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    this.#look();
  }

  /** At one go: hundreds of small files of the kernel's memory, which threads would take many times as long for. */
  #look(): void {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
    for (const pid of pids) {
      for (const file of ['cmdline', 'environ']) {
        for (const name of this.#secrets.in(textOf(`/proc/${pid}/${file}`))) {
          this.#found.add(`${name} in ${file} of ${textOf(`/proc/${pid}/comm`).trim()}`);
        }
      }
    }
    this.#looks++;
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // the process has ended meanwhile
  }
}
