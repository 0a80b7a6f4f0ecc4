import { constants, readdirSync, readFileSync, readlinkSync, type Stats, type StatsFs } from 'node:fs';
import { access, lstat, open, statfs } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { defaultDataDir, defaultRuntimeDir } from '../config/directories.js';
import { type FindVmmOptions, findVmm, type Vmm } from '../vmm/find.js';
import { kvmProblem } from '../vmm/host.js';
import { newestFirecracker, releaseFolder } from '../vmm/release-files.js';

export interface HostOptions extends FindVmmOptions {
  /** Default: as `SmartVMOptions` has it. */
  dataDir?: string | undefined;
  /** Default: as `SmartVMOptions` has it. */
  runtimeDir?: string | undefined;
  /** What stands for `/`: every path is looked up below it. Default `/`. */
  root?: string | undefined;
  /** Where programs are looked for. Default: `PATH`. */
  searchPath?: string | undefined;
  /** Who asks. Default: this process's user. */
  uid?: number | undefined;
  /** Which VMM SmartVM would take. Default: what `findVmm()` says. */
  findVmm?: (options: FindVmmOptions) => Promise<Vmm>;
}

/**
 * The one view that checks have of the host: they write nothing, and read nothing but by this. What is read whole comes from the
 * kernel's memory, hundreds of small files where VMs run: one after the other they take a tenth of what threads take for them.
 */
export class Host {
  readonly root: string;
  readonly dataDir: string;
  readonly runtimeDir: string;
  readonly uid: number;
  readonly gid: number;
  readonly #options: HostOptions;

  constructor(options: HostOptions = {}) {
    this.#options = options;
    this.root = options.root ?? '/';
    this.dataDir = resolve(options.dataDir ?? defaultDataDir());
    this.runtimeDir = resolve(options.runtimeDir ?? defaultRuntimeDir());
    this.uid = options.uid ?? process.getuid?.() ?? 0;
    this.gid = process.getgid?.() ?? 0;
  }

  get isRoot(): boolean {
    return this.uid === 0;
  }

  /** Where a path of the host really is. */
  at(path: string): string {
    return join(this.root, path);
  }

  /** A file's text without white space around it; undefined when it cannot be read. */
  async read(path: string): Promise<string | undefined> {
    return attempt(() => readFileSync(this.at(path), 'utf8').trim());
  }

  /** The names in a directory; none when it cannot be read. */
  async list(path: string): Promise<string[]> {
    return attempt(() => readdirSync(this.at(path))) ?? [];
  }

  /** What a link says; undefined when it cannot be read. */
  async link(path: string): Promise<string | undefined> {
    return attempt(() => readlinkSync(this.at(path)));
  }

  /** Of a path itself, whatever a link at its end points at. The error's code tells why there is none. */
  async stat(path: string): Promise<Stats | NodeJS.ErrnoException> {
    return await lstat(this.at(path)).catch((error: NodeJS.ErrnoException) => error);
  }

  async space(path: string): Promise<StatsFs | undefined> {
    return await statfs(this.at(path)).catch(() => undefined);
  }

  /** Why a path does not open for reading and writing, as an error code; undefined when it does. */
  async openProblem(path: string): Promise<string | undefined> {
    try {
      await (await open(this.at(path), 'r+')).close();
      return undefined;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? String(error);
    }
  }

  /** Why nothing can be made in a directory, as an error code; undefined when it can. */
  async writeProblem(path: string): Promise<string | undefined> {
    return await access(this.at(path), constants.W_OK | constants.X_OK).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error.code ?? String(error),
    );
  }

  /** The path of a program; undefined when there is none that can be executed. */
  async which(program: string): Promise<string | undefined> {
    for (const folder of (this.#options.searchPath ?? process.env.PATH ?? '').split(':').filter(Boolean)) {
      const path = join(folder, program);
      if (await this.isExecutable(path)) {
        return path;
      }
    }
    return undefined;
  }

  async isExecutable(path: string): Promise<boolean> {
    return await access(this.at(path), constants.X_OK).then(
      () => true,
      () => false,
    );
  }

  async kvmProblem(): Promise<string | undefined> {
    return await kvmProblem(this.root);
  }

  /** @throws SmartVMError VMM_NOT_FOUND */
  async findVmm(): Promise<Vmm> {
    const { vmm, firecrackerBinaryPath } = this.#options;
    return await (this.#options.findVmm ?? findVmm)({ vmm, firecrackerBinaryPath, dataDir: this.dataDir });
  }

  /** The newest Firecracker that `smartvm install` has fetched. */
  get fetchedFirecracker(): string | undefined {
    const folder = releaseFolder(this.dataDir);
    const newest = newestFirecracker(this.at(folder));
    return newest && join(folder, basename(newest.path));
  }
}

/** A question to the host that several checks have, and that is answered once. */
export function perHost<T>(ask: (host: Host) => Promise<T>): (host: Host) => Promise<T> {
  const answers = new WeakMap<Host, Promise<T>>();
  return (host) => {
    const answer = answers.get(host) ?? ask(host);
    answers.set(host, answer);
    return answer;
  };
}

function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}
