import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { verifiedProgram } from '../config/programs.js';
import { SmartVMError, type SmartVMErrorCode } from '../errors.js';
import { SocketClient } from '../firecracker/socket-client.js';
import { withDeadline } from '../util/deadline.js';
import { KEEPER_EXIT_MS, type Keeper } from './keeper.js';

/** What a launcher is to start. */
export interface LaunchOrder {
  /** The VMM and its arguments. */
  readonly argv: readonly [string, ...string[]];
  /** A file that describes the jail that the VMM is shut in; the command is then the way into it. */
  readonly jail?: string | undefined;
}

/** The line that a launcher prints once its VMM is spawned. */
interface Hello {
  readonly keeperPid: number;
  readonly keeperStartTime: string;
  readonly vmmPid: number;
  readonly vmmStartTime: string;
  readonly bootId: string;
  readonly error?: { readonly code: SmartVMErrorCode; readonly message: string };
}

const HELLO_TIMEOUT_MS = 10_000;
const REACHABLE_MS = 2_000;
/** What programs are found by, and where they put temporary files. */
const ENVIRONMENT = ['PATH', 'LD_LIBRARY_PATH', 'LANG', 'TMPDIR', 'TZ'];

/**
 * A process that waits for the order to start a VMM, and becomes its keeper. It is spawned ahead of that order: both that and
 * its own beginning take milliseconds in which this program has the VM's directory to make.
 */
export class Launcher {
  readonly #id: string;
  readonly #runtimeDir: string;
  readonly #child: ChildProcess;
  readonly #hello: Promise<Hello>;
  readonly #ended: Promise<undefined>;
  /** The end of its standard output says that the keeper's socket is there. */
  readonly #listens: Promise<void>;
  #stderr = '';

  private constructor(id: string, runtimeDir: string, child: ChildProcess) {
    this.#id = id;
    this.#runtimeDir = runtimeDir;
    this.#child = child;
    this.#ended = new Promise((resolve) =>
      child.once('exit', () => resolve(undefined)).once('error', () => resolve(undefined)),
    );
    this.#listens = new Promise((resolve) => child.stdout?.once('close', resolve));
    this.#hello = this.#readHello();
    this.#hello.catch(() => undefined); // start() reports it
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk).slice(-4096);
    });
    child.stdin?.on('error', () => undefined); // its end says the rest
  }

  /** @param runtimeDir the VM's (0700), which need not be there yet: keeper's socket and logs are made in it @throws SmartVMError PACKAGE_DAMAGED */
  static async spawn(id: string, runtimeDir: string, isJailed: boolean): Promise<Launcher> {
    const program = await verifiedProgram('launch');
    await verifiedProgram('keeper'); // which it becomes
    if (isJailed) {
      await verifiedProgram('confine'); // which becomes the VMM
    }
    const child = spawn(program, ['--id', id, '--dir', runtimeDir], {
      // A session of its own: a Ctrl-C on our terminal is ours to handle, not the VMM's.
      detached: true,
      env: environment(),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    return new Launcher(id, runtimeDir, child);
  }

  /**
   * Starts the VMM and waits until it is spawned. To be called once.
   * @throws SmartVMError VMM_SPAWN_FAILED when the VMM cannot be executed, KEEPER_FAILED when the keeper itself fails; JAIL_FAILED,
   *   JAIL_PATH_UNREADABLE, CGROUP_UNAVAILABLE when it cannot be shut in
   */
  async start(order: LaunchOrder): Promise<Keeper> {
    const child = this.#child;
    child.stdin?.write(`${JSON.stringify(order)}\n`);
    const hello = await withDeadline(this.#hello, HELLO_TIMEOUT_MS, () => this.#failed('no word of it'));
    if (hello.error) {
      const what = hello.error.code === 'VMM_SPAWN_FAILED' ? order.argv[0] : `the keeper of VM ${this.#id}`;
      throw new SmartVMError(hello.error.code, `${what} could not be started: ${hello.error.message}`);
    }
    for (const handle of [child.stdin, child.stdout, child.stderr] as { unref?: () => void }[]) {
      handle.unref?.();
    }
    return this.#keeper(hello);
  }

  /** Ends it, and waits for that: one that has no VMM yet at once, one that has as its keeper's owner does. */
  async end(): Promise<void> {
    const child = this.#child;
    child.ref();
    child.stdin?.end();
    const late = setTimeout(() => child.kill('SIGKILL'), KEEPER_EXIT_MS);
    await this.#ended;
    clearTimeout(late);
  }

  #keeper({ keeperPid, keeperStartTime, vmmPid, vmmStartTime, bootId }: Hello): Keeper {
    const child = this.#child;
    const socketPath = join(this.#runtimeDir, 'keeper.sock');
    const client = new SocketClient({ socketPath });
    let call: Promise<void> | undefined;
    const reach = () => {
      call ??= this.#call();
      return call;
    };
    const detach = async () => {
      await reach();
      await client.put('/detached', undefined);
      child.unref(); // a program waits for its VM to end, as for any child, but not for one that outlives it
    };
    return {
      process: { pid: keeperPid, startTime: keeperStartTime, bootId },
      vmm: { pid: vmmPid, startTime: vmmStartTime, bootId },
      console: new SocketClient({ socketPath }),
      ended: this.#ended,
      release: () => child.unref(),
      end: () => this.end(),
      ...{ client, reach, detach },
    };
  }

  async #call(): Promise<void> {
    this.#child.stdin?.write('\n');
    // One that is stopped before that is not waited for without end.
    await withDeadline(this.#listens, REACHABLE_MS, () => new Error('late')).catch(() => undefined);
  }

  async #readHello(): Promise<Hello> {
    const { stdout } = this.#child;
    let text = '';
    const line = new Promise<void>((resolve) => {
      stdout?.on('data', (chunk: Buffer) => {
        text += chunk;
        if (text.endsWith('\n')) {
          resolve();
        }
      });
    });
    const failed = once(this.#child, 'error').then(([cause]) => {
      throw this.#failed((cause as Error).message, cause);
    });
    await Promise.race([line, once(stdout as NodeJS.ReadableStream, 'end'), failed]);
    try {
      return JSON.parse(text) as Hello;
    } catch (cause) {
      throw this.#failed(this.#stderr.trim() || 'it ended without a word', cause);
    }
  }

  #failed(why: string, cause?: unknown): SmartVMError {
    return new SmartVMError('KEEPER_FAILED', `the keeper of VM ${this.#id} failed: ${why}`, { cause });
  }
}

/** A VMM that its guest has taken over can read its environment: tokens of this program's are not in it. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(ENVIRONMENT.flatMap((name) => (name in process.env ? [[name, process.env[name]]] : [])));
}
