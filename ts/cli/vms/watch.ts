import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isValidVmId } from '../../config/ids.js';
import { delay, linkSignals } from '../../util/deadline.js';
import { DirectoryChanges } from '../../util/directory-changes.js';
import { ensurePrivateDirectory } from '../../util/private-directory.js';
import { readExit } from '../../vmm/exit.js';
import { hearKeeper } from '../../vmm/keeper-events.js';
import { look } from './list.js';
import { dieEvent, type EventTags, eventOfKeeper, type VmEvent, vmEvent } from './vm-events.js';

/** Where the kernel has no watch left to give, directories are looked at so often. */
const LOOK_MS = 1_000;
const RETRY_MS = 50;

export interface WatchOptions {
  readonly runtimeRoot: string;
  readonly onEvent: (event: VmEvent) => void;
  /** Milliseconds since the epoch from which on events are told, as far as keepers have kept them. Default: from now on. */
  readonly since?: number | undefined;
  readonly signal: AbortSignal;
}

/**
 * Tells what happens to all VMs of a runtime directory, whatever program it is that does it, until the signal comes: by the
 * directories that come and go, and by what the keepers tell.
 * @throws SmartVMError DIRECTORY_UNSAFE, FILE_WRITE_FAILED
 */
export async function watchVms(options: WatchOptions): Promise<void> {
  const { runtimeRoot, signal } = options;
  await ensurePrivateDirectory(runtimeRoot); // there may have been no VM yet
  using changes = new DirectoryChanges(runtimeRoot);
  const watched = new Map<string, VmWatch>();
  for (let isFirst = true; !signal.aborted; isFirst = false) {
    changes.reset();
    const present = directoriesIn(runtimeRoot);
    for (const [id, watch] of watched) {
      if (present.get(id) !== watch.inode) {
        watch.gone();
        watched.delete(id);
      }
    }
    for (const [id, inode] of present) {
      const watch = watched.has(id) ? undefined : VmWatch.begin(id, inode, options, isFirst);
      if (watch) {
        watched.set(id, watch);
      }
    }
    await changes.next(LOOK_MS, signal);
  }
}

/** The inodes of the VMs' directories: one that is gone and made anew is another VM's. */
function directoriesIn(runtimeRoot: string): Map<string, number> {
  const ids = readdirSync(runtimeRoot).filter(isValidVmId);
  const inodes = ids.map((id) => [id, lstatSync(join(runtimeRoot, id), { throwIfNoEntry: false })?.ino] as const);
  return new Map(inodes.filter((entry): entry is [string, number] => entry[1] !== undefined));
}

/** The events of one VM, from its directory's coming to its going. */
class VmWatch {
  readonly inode: number;
  readonly #tags: EventTags;
  readonly #runtimeDir: string;
  readonly #options: WatchOptions;
  readonly #gone = new AbortController();
  readonly #over: Promise<void>;
  #isDead = false;

  /** Undefined for what is not, or not any more, the directory of a VM. */
  static begin(id: string, inode: number, options: WatchOptions, wasThere: boolean): VmWatch | undefined {
    const runtimeDir = join(options.runtimeRoot, id);
    const vm = look(id, runtimeDir);
    return vm && 'record' in vm
      ? new VmWatch(inode, vm.record, runtimeDir, options, wasThere, vm.status === 'exited')
      : undefined;
  }

  private constructor(
    inode: number,
    tags: EventTags & { readonly createdAt: string },
    runtimeDir: string,
    options: WatchOptions,
    wasThere: boolean,
    isDead: boolean,
  ) {
    this.inode = inode;
    this.#tags = tags;
    this.#runtimeDir = runtimeDir;
    this.#options = options;
    this.#isDead = isDead && wasThere;
    const isOld = wasThere && (options.since === undefined || Date.parse(tags.createdAt) < options.since);
    if (!isOld) {
      options.onEvent(vmEvent(tags, 'create', { time: tags.createdAt }));
    }
    this.#over = this.#isDead
      ? Promise.resolve()
      : this.#hear(wasThere && options.since === undefined ? 'now' : 'start');
  }

  /** The directory is gone: what the keeper has still to say comes first. */
  gone(): void {
    this.#gone.abort();
    void this.#over.then(() => this.#options.signal.aborted || this.#options.onEvent(vmEvent(this.#tags, 'remove')));
  }

  /** Hears the keeper from when it is there to its end. */
  async #hear(from: 'now' | 'start'): Promise<void> {
    const { onEvent, signal, since = 0 } = this.#options;
    using changes = new DirectoryChanges(this.#runtimeDir);
    let hasAnswered = false;
    while (!this.#isDead && !signal.aborted) {
      changes.reset();
      const tell = (said: Parameters<typeof eventOfKeeper>[1]) => {
        hasAnswered = true;
        this.#isDead ||= said.exit !== undefined;
        const event = eventOfKeeper(this.#tags, said);
        if (event && Date.parse(event.time) >= (from === 'start' ? since : 0)) {
          onEvent(event);
        }
      };
      await hearKeeper(join(this.#runtimeDir, 'keeper.sock'), tell, signal, hasAnswered ? 'now' : from);
      if (this.#isDead || signal.aborted || (await this.#hasEnded(hasAnswered))) {
        return;
      }
      // It is being started, or its keeper hung up and lives.
      using either = linkSignals([signal, this.#gone.signal]);
      await (hasAnswered ? delay(RETRY_MS, either.signal) : changes.next(LOOK_MS, either.signal));
    }
  }

  /** Whether it is over without a word of its keeper's; that is told where it had begun. */
  async #hasEnded(hadKeeper: boolean): Promise<boolean> {
    const now = look(this.#tags.id, this.#runtimeDir);
    const isOver = this.#gone.signal.aborted || !now || 'problem' in now || now.status === 'exited';
    if (isOver && hadKeeper) {
      this.#options.onEvent(dieEvent(this.#tags, await readExit(this.#runtimeDir)));
    }
    return isOver;
  }
}
