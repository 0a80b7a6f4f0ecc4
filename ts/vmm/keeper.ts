import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { verifiedProgram } from '../config/programs.js';
import { SmartVMError, type SmartVMErrorCode } from '../errors.js';
import { SocketClient } from '../firecracker/socket-client.js';
import { withDeadline } from '../util/deadline.js';
import type { ProcessIdentity } from '../util/process-identity.js';
import type { VmmExit } from './exit.js';
import { KeeperLife, type KeeperWord } from './keeper-life.js';
import { askKeeper } from './keeper-state.js';

export interface KeeperOptions {
  id: string;
  /** The VM's runtime directory (0700); the keeper's socket and logs are made in it. */
  runtimeDir: string;
  /** The VMM and its arguments. */
  command: readonly [string, ...string[]];
  /** A file that describes the jail that the VMM is shut in; the command is then the way into it. */
  jailPath?: string | undefined;
}

/** The line that a keeper prints once its VMM is spawned. */
interface Hello {
  keeperPid: number;
  keeperStartTime: string;
  vmmPid: number;
  vmmStartTime: string;
  bootId: string;
  error?: { code: SmartVMErrorCode; message: string };
}

export interface Keeper {
  readonly process: ProcessIdentity;
  readonly vmm: ProcessIdentity;
  /** Settles when the keeper's socket is there, which is after the VMM is spawned; when the keeper has ended before; or late. */
  readonly reachable: Promise<void>;
  /** Settles when the keeper has ended, and with it the VMM. Its last word, where it has not told it here, is in exit.json. */
  readonly ended: Promise<VmmExit | undefined>;
  /** For state and signals. */
  readonly client: SocketClient;
  /** For the console: a guest that reads nothing holds up these connections, and no signal. */
  readonly console: SocketClient;
  /** What it is told and tells of the VM's life. */
  readonly life: KeeperLife;
  /** Says that the VM's start is through, and makes it outlive this program. */
  detach(word: KeeperWord): Promise<void>;
  /** Lets go of it: nothing of it keeps this program from ending. */
  release(): void;
  /**
   * Gives up ownership, which tells a keeper that is not detached to end its VM, and waits until the keeper is gone.
   * One that does not go within `KEEPER_EXIT_MS` is killed, and its VMM with it.
   */
  end(): Promise<void>;
}

const HELLO_TIMEOUT_MS = 10_000;
export const KEEPER_EXIT_MS = 5_000;
const REACHABLE_MS = 2_000;
/** What programs are found by, and where they put temporary files. */
const ENVIRONMENT = ['PATH', 'LD_LIBRARY_PATH', 'LANG', 'TMPDIR', 'TZ'];

/**
 * Starts a keeper, the small process that is the parent of one VMM, and waits until it has spawned it.
 * @throws SmartVMError VMM_SPAWN_FAILED when the VMM cannot be executed, KEEPER_FAILED when the keeper itself fails; JAIL_FAILED,
 *   JAIL_PATH_UNREADABLE, CGROUP_UNAVAILABLE when it cannot be shut in; PACKAGE_DAMAGED
 */
export async function startKeeper(options: KeeperOptions): Promise<Keeper> {
  const socketPath = join(options.runtimeDir, 'keeper.sock');
  const [client, console] = [new SocketClient({ socketPath }), new SocketClient({ socketPath })];
  const args = [
    ...['--id', options.id, '--dir', options.runtimeDir],
    ...(options.jailPath === undefined ? [] : ['--jail', options.jailPath]),
  ];
  const program = await verifiedProgram('launch');
  await verifiedProgram('keeper'); // which it becomes
  if (options.jailPath !== undefined) {
    await verifiedProgram('confine'); // which becomes the VMM
  }
  const child = spawn(program, [...args, '--', ...options.command], {
    // A session of its own: a Ctrl-C on our terminal is ours to handle, not the VMM's.
    detached: true,
    env: environment(),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const reachable = socketOf(child);
  const ended = new Promise<undefined>((resolve) => child.once('exit', () => resolve(undefined)));
  child.stdin.on('error', () => undefined); // it only ever closes: the keeper's exit says the rest
  try {
    const hello = await withDeadline(readHello(child), HELLO_TIMEOUT_MS, () =>
      keeperFailed(options.id, 'no word of it'),
    );
    if (hello.error) {
      const what = hello.error.code === 'VMM_SPAWN_FAILED' ? options.command[0] : `the keeper of VM ${options.id}`;
      throw new SmartVMError(hello.error.code, `${what} could not be started: ${hello.error.message}`);
    }
    for (const handle of [child.stdin, child.stdout, child.stderr] as { unref?: () => void }[]) {
      handle.unref?.();
    }
    const { keeperPid, keeperStartTime, vmmPid, vmmStartTime, bootId } = hello;
    const life = new KeeperLife(options.id, options.runtimeDir, { client, reachable });
    const detach = async (word: KeeperWord) => {
      await life.begin(word, '/detached');
      child.unref(); // a program waits for its VM to end, as for any child, but not for one that outlives it
    };
    const release = () => {
      life.close();
      child.unref();
    };
    const end = () => endKeeper(child, ended).finally(() => life.close());
    return {
      process: { pid: keeperPid, startTime: keeperStartTime, bootId },
      vmm: { pid: vmmPid, startTime: vmmStartTime, bootId },
      ...{ ended, reachable, client, console, life, detach, release, end },
    };
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }

  async function readHello(keeper: ChildProcess): Promise<Hello> {
    let [stdout, stderr] = ['', ''];
    keeper.stdout?.on('data', (chunk: Buffer) => {
      stdout += chunk;
    });
    keeper.stderr?.on('data', (chunk: Buffer) => {
      stderr = (stderr + chunk).slice(-4096);
    });
    const line = new Promise<void>((resolve) => {
      keeper.stdout?.on('data', () => stdout.endsWith('\n') && resolve());
    });
    const failed = once(keeper, 'error').then(([cause]) => {
      throw keeperFailed(options.id, (cause as Error).message, cause);
    });
    await Promise.race([line, once(keeper.stdout as NodeJS.ReadableStream, 'end'), failed]);
    try {
      return JSON.parse(stdout) as Hello;
    } catch (cause) {
      throw keeperFailed(options.id, stderr.trim() || 'it ended without a word', cause);
    }
  }
}

/** True while the keeper of a runtime directory is there: its socket refuses once it is dead. */
export async function isKeeperAlive(runtimeDir: string): Promise<boolean> {
  return (await askKeeper(runtimeDir)) !== 'gone';
}

/** The end of its standard output says that its socket is there. One that is stopped before that is not waited for without end. */
function socketOf(keeper: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    const late = setTimeout(resolve, REACHABLE_MS).unref();
    keeper.stdout?.once('close', () => {
      clearTimeout(late);
      resolve();
    });
  });
}

/** A VMM that its guest has taken over can read its environment: tokens of this program's are not in it. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(ENVIRONMENT.flatMap((name) => (name in process.env ? [[name, process.env[name]]] : [])));
}

async function endKeeper(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  child.ref();
  child.stdin?.end();
  const late = setTimeout(() => child.kill('SIGKILL'), KEEPER_EXIT_MS);
  await ended;
  clearTimeout(late);
}

function keeperFailed(id: string, why: string, cause?: unknown): SmartVMError {
  return new SmartVMError('KEEPER_FAILED', `the keeper of VM ${id} failed: ${why}`, { cause });
}
