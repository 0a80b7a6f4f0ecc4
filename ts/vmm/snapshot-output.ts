import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, constants, lchown, lstat, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { SnapshotOptions } from '../config/updates.js';
import { SmartVMError } from '../errors.js';
import { syncDirectory } from '../util/atomic-file.js';
import type { VmmProcess } from './vmm-process.js';

type Paths = Pick<SnapshotOptions, 'snapshotPath' | 'memFilePath'>;

/** Told of a folder before it is made, and when it is gone: should this program be killed, others remove it. */
export interface FolderJournal {
  make(folder: string): Promise<void>;
  removed(folder: string): Promise<void>;
}

/**
 * Lets a VMM write a snapshot where its caller wants it. One that is jailed writes into folders that are its own for as long as
 * that takes, beside the files' places; both files come to these when they are whole, and belong to this program.
 */
export async function withSnapshotOutput(
  vmm: VmmProcess,
  options: SnapshotOptions,
  write: (paths: Paths) => Promise<void>,
  journal?: FolderJournal,
): Promise<void> {
  const { uid } = vmm;
  const [state, memory] = [resolve(options.snapshotPath), resolve(options.memFilePath)];
  if (uid === undefined || ![state, memory].every((path) => existsSync(dirname(path)))) {
    await write(options); // where there is no folder, the VMM says so
    return;
  }
  if (options.type === 'Diff' && (await lstat(memory).catch(() => undefined))) {
    // The pages that have changed go into the file of an earlier snapshot.
    await vmm.expose([{ path: memory, access: 'write' }]);
    try {
      await using staged = await Staging.make(vmm, uid, [state], journal);
      await write({ snapshotPath: staged.pathOf(state), memFilePath: memory });
      await staged.deliver();
    } finally {
      await vmm.conceal(memory).catch(() => undefined); // a VMM that has ended sees nothing
    }
    return;
  }
  await using staged = await Staging.make(vmm, uid, [memory, state], journal);
  await write({ snapshotPath: staged.pathOf(state), memFilePath: staged.pathOf(memory) });
  // Never an older state with newer memory: the state goes first, and comes last.
  await rm(state, { force: true });
  await staged.deliver();
}

/** Folders beside the places of some files, in which a VMM makes them. */
class Staging implements AsyncDisposable {
  readonly #vmm: VmmProcess;
  readonly #targets: readonly string[];
  readonly #journal: FolderJournal | undefined;
  readonly #folders = new Map<string, string>();
  /** Uid and gid of this program. */
  readonly #self = [process.getuid?.() ?? 0, process.getgid?.() ?? 0] as const;

  private constructor(vmm: VmmProcess, targets: readonly string[], journal: FolderJournal | undefined) {
    this.#vmm = vmm;
    this.#targets = targets;
    this.#journal = journal;
  }

  /** @throws SmartVMError FILE_WRITE_FAILED, JAIL_PATH_UNREADABLE */
  static async make(
    vmm: VmmProcess,
    uid: number,
    targets: readonly string[],
    journal: FolderJournal | undefined,
  ): Promise<Staging> {
    const staging = new Staging(vmm, targets, journal);
    try {
      for (const parent of new Set(targets.map((target) => dirname(target)))) {
        await staging.#open(parent, uid);
      }
      return staging;
    } catch (error) {
      await staging[Symbol.asyncDispose]();
      throw error;
    }
  }

  pathOf(target: string): string {
    return join(this.#folders.get(dirname(target)) ?? '', basename(target));
  }

  /** Puts the files in their places, in the order in which they were named. */
  async deliver(): Promise<void> {
    for (const folder of this.#folders.values()) {
      // What is looked at below is what is moved: the VMM can put nothing else there, whatever mode it has left.
      await lchown(folder, ...this.#self);
      await chmod(folder, 0o700);
    }
    for (const target of this.#targets) {
      const path = this.pathOf(target);
      await takeOver(path, this.#self);
      await rename(path, target);
      await syncDirectory(dirname(target));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const folder of this.#folders.values()) {
      await this.#vmm.conceal(folder).catch(() => undefined); // a VMM that has ended sees nothing
      await rm(folder, { recursive: true, force: true });
      await this.#journal?.removed(folder).catch(() => undefined); // a VM that has ended has no journal
    }
  }

  async #open(parent: string, uid: number): Promise<void> {
    await assertUnshared(parent);
    const folder = join(parent, `.smartvm-${randomUUID()}`);
    await this.#journal?.make(folder);
    this.#folders.set(parent, folder); // from here on it is undone, whole or not
    await mkdir(folder, { mode: 0o700 }).catch((cause: Error) => {
      throw new SmartVMError('FILE_WRITE_FAILED', `cannot write a snapshot into ${parent}: ${cause.message}`, {
        cause,
      });
    });
    await lchown(folder, uid, uid);
    await this.#vmm.expose([{ path: folder, access: 'write' }]);
  }
}

/** Makes a file that a VMM has written this program's own, and nobody else's. */
async function takeOver(path: string, [uid, gid]: readonly [uid: number, gid: number]): Promise<void> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  await using file = await open(path, flags).catch((cause: Error) => {
    throw new SmartVMError('FILE_WRITE_FAILED', `the VMM left no file at ${path}: ${cause.message}`, { cause });
  });
  const found = await file.stat();
  if (!found.isFile() || found.nlink !== 1) {
    throw new SmartVMError('FILE_WRITE_FAILED', `the VMM left no file at ${path}, but something else`);
  }
  await file.chown(uid, gid);
  await file.chmod(0o600);
}

/** In a folder that others may change, they could put another in the place of ours while it is given to the VMM. */
async function assertUnshared(folder: string): Promise<void> {
  const { uid, mode } = await stat(folder);
  const isOurs = uid === 0 || uid === process.getuid?.();
  if (!isOurs || ((mode & 0o022) !== 0 && (mode & 0o1000) === 0)) {
    throw new SmartVMError(
      'DIRECTORY_UNSAFE',
      `${folder} can be changed by other users, so no jailed VM's snapshot is written there; take another, or chmod go-w`,
    );
  }
}
