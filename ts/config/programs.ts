import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SmartVMError } from '../errors.js';
import { type Arch, hostArch } from '../util/arch.js';
import { writeFileAtomic } from '../util/atomic-file.js';
import { PACKAGE_ROOT } from '../util/package-root.js';
import { ensurePrivateDirectory } from '../util/private-directory.js';
import { type FileRecord, fingerprintSync, recordFile, sameFingerprint } from '../util/verified-file.js';
import { defaultDataDir } from './directories.js';

/** What comes with the package beside JavaScript: a folder of go/cmd each, built for every architecture. */
export type Program = 'agent' | 'confine' | 'keeper' | 'launch';

type Sums = Readonly<Record<string, string>>;
type Records = Readonly<Record<string, FileRecord>>;

export interface ProgramStoreOptions {
  /** The folder with the programs and the list of their SHA-256. */
  directory: string;
  /** Remembers which files were hashed, so that the next process need not: a stat of each is enough for it. */
  recordsPath: string;
  /** What mends a damaged program. */
  remedy: string;
}

const SUMS = 'checksums.json';

/**
 * Gives the programs of a package, each checked at its first use against the SHA-256 that the build noted. This finds files
 * that are cut short, damaged or of another build; whoever can write to the package can change sums and code alike.
 */
export class ProgramStore {
  readonly #options: ProgramStoreOptions;
  readonly #verified = new Map<string, Promise<string>>();
  #lastWrite: Promise<void> = Promise.resolve();

  constructor(options: ProgramStoreOptions) {
    this.#options = options;
  }

  pathOf(program: Program, arch: Arch = hostArch()): string {
    return join(this.#options.directory, `smartvm-${program}-${arch}`);
  }

  /** Its path, once it has been found whole. @throws SmartVMError PACKAGE_DAMAGED */
  async verified(program: Program, arch: Arch = hostArch()): Promise<string> {
    const path = this.pathOf(program, arch);
    const known = this.#verified.get(path);
    if (known) {
      return await known;
    }
    const check = this.#check(path, `smartvm-${program}-${arch}`);
    this.#verified.set(path, check);
    // One that has been mended meanwhile is looked at again.
    check.catch(() => this.#verified.delete(path));
    return await check;
  }

  async #check(path: string, name: string): Promise<string> {
    // Synchronous up to the usual end: three small calls, in every start of a VM.
    const expected = this.#sums()[name];
    if (expected === undefined) {
      throw this.#damaged(path, `${SUMS} has no SHA-256 of it`, {});
    }
    const record = this.#records()[path];
    if (record?.sha256 === expected && sameFingerprint(record.fingerprint, fingerprintSync(path))) {
      return path;
    }
    const now = await recordFile(path).catch((cause: Error) => {
      throw this.#damaged(path, existsSync(path) ? cause.message : 'it is not there', { expected });
    });
    if (now.sha256 !== expected) {
      throw this.#damaged(path, `its SHA-256 is ${now.sha256}, and ${expected} was expected`, {
        expected,
        found: now.sha256,
      });
    }
    this.#lastWrite = this.#lastWrite.then(() => this.#remember(path, now));
    await this.#lastWrite;
    return path;
  }

  #sums(): Sums {
    const path = join(this.#options.directory, SUMS);
    try {
      return JSON.parse(readFileSync(path, 'utf8')) as Sums;
    } catch (cause) {
      throw this.#damaged(path, (cause as Error).message, {}, cause);
    }
  }

  #records(): Records {
    try {
      return JSON.parse(readFileSync(this.#options.recordsPath, 'utf8')) as Records;
    } catch {
      return {};
    }
  }

  /** Only spares time: where it cannot be written, or another process writes at the same moment, the next one hashes again. */
  async #remember(path: string, record: FileRecord): Promise<void> {
    try {
      await ensurePrivateDirectory(dirname(this.#options.recordsPath));
      // Other copies of the package have theirs here too, until they are gone.
      const others = Object.entries(this.#records()).filter(([other]) => existsSync(other));
      const records = { ...Object.fromEntries(others), [path]: record };
      await writeFileAtomic(this.#options.recordsPath, JSON.stringify(records));
    } catch {
      // Nothing depends on it.
    }
  }

  #damaged(path: string, why: string, sums: { expected?: string; found?: string }, cause?: unknown): SmartVMError {
    return new SmartVMError('PACKAGE_DAMAGED', `${path} is damaged: ${why}. ${this.#options.remedy}`, {
      details: { path, ...sums },
      cause,
    });
  }
}

let own: ProgramStore | undefined;

function ownPrograms(): ProgramStore {
  own ??= new ProgramStore({
    directory: join(PACKAGE_ROOT, 'dist/bin'),
    recordsPath: join(defaultDataDir(), 'programs.json'),
    remedy: existsSync(join(PACKAGE_ROOT, 'go/go.mod'))
      ? 'Build it with: npm run build'
      : 'Install the package again, for example with: npm install --global smartvm',
  });
  return own;
}

/** Where a program of this package is, for the host's architecture unless another is named. Whether it is there is not looked at. */
export function programPath(program: Program, arch?: Arch): string {
  return ownPrograms().pathOf(program, arch);
}

/**
 * The path of a program of this package, once it has been found whole: by a stat where an earlier process hashed it, by
 * hashing it otherwise, and never twice in a process.
 * @throws SmartVMError PACKAGE_DAMAGED
 */
export async function verifiedProgram(program: Program, arch?: Arch): Promise<string> {
  return await ownPrograms().verified(program, arch);
}
