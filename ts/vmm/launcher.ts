import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { verifiedProgram } from '../config/programs.js';
import { SmartVMError, type SmartVMErrorCode } from '../errors.js';
import { SocketClient } from '../firecracker/socket-client.js';
import { withDeadline } from '../util/deadline.js';
import { type ProcessIdentity, processIdentity } from '../util/process-identity.js';
import { KEEPER_EXIT_MS, type Keeper, type OwnersWord } from './keeper.js';
import { KeeperLife, type KeeperWord } from './keeper-life.js';

/** What a launcher is to start. */
export interface LaunchOrder {
  readonly id: string;
  /** The VM's runtime directory (0700): the keeper's socket and logs are made in it. */
  readonly runtimeDir: string;
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
/** For Go's runtime: it does one thing at a time, and is gone before it has filled any memory. */
const LAUNCHER_ENVIRONMENT = { GOMAXPROCS: '1', GOGC: 'off' };
/** What programs are found by, and where they put temporary files. */
const ENVIRONMENT = ['PATH', 'LD_LIBRARY_PATH', 'LANG', 'TMPDIR', 'TZ'];

/**
 * A process that waits for the order to start a VMM, and becomes its keeper. It can be spawned long before: that takes milliseconds
 * in which this program stands still. Its identity is known before there is anything for it to do, and goes into the VM's record.
 */
export class Launcher {
  /** It keeps it as a keeper; undefined where it could not be spawned, which `start()` reports. */
  readonly process: Promise<ProcessIdentity | undefined>;
  readonly #child: ChildProcess;
  readonly #hello: Promise<string>;
  readonly #ended: Promise<undefined>;
  /** The end of its standard output says that the keeper's socket is there. */
  readonly #listens: Promise<void>;
  #failure: Error | undefined;
  #stderr = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.process = child.pid === undefined ? Promise.resolve(undefined) : processIdentity(child.pid);
    this.#hello = firstLine(child);
    this.#listens = new Promise((resolve) => child.stdout?.once('close', resolve));
    this.#ended = new Promise((resolve) => {
      child.once('exit', () => resolve(undefined));
      child.once('error', (error) => {
        this.#failure = error;
        resolve(undefined);
      });
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk).slice(-4096);
    });
    child.stdin?.on('error', () => undefined); // its end says the rest
  }

  /** @throws SmartVMError PACKAGE_DAMAGED */
  static async spawn(): Promise<Launcher> {
    const program = await verifiedProgram('launch');
    await verifiedProgram('keeper'); // which it becomes
    // A session of its own: a Ctrl-C on our terminal is ours to handle, not the VMM's. The order brings the environment.
    return new Launcher(spawn(program, [], { detached: true, env: LAUNCHER_ENVIRONMENT, stdio: 'pipe' }));
  }

  get isAlive(): boolean {
    return this.#failure === undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Whether this program waits for it to end, as for any child. */
  keepsProgram(does: boolean): void {
    const { stdin, stdout, stderr } = this.#child;
    for (const handle of [this.#child, stdin, stdout, stderr] as { ref?: () => void; unref?: () => void }[]) {
      (does ? handle.ref : handle.unref)?.call(handle);
    }
  }

  /**
   * Starts the VMM and waits until it is spawned. To be called once.
   * @throws SmartVMError VMM_SPAWN_FAILED when the VMM cannot be executed, KEEPER_FAILED when the keeper itself fails; JAIL_FAILED,
   *   JAIL_PATH_UNREADABLE, CGROUP_UNAVAILABLE when it cannot be shut in; PACKAGE_DAMAGED
   */
  async start(order: LaunchOrder): Promise<Keeper> {
    const { id, runtimeDir, argv, jail } = order;
    if (jail !== undefined) {
      await verifiedProgram('confine'); // which becomes the VMM
    }
    const line = { id, dir: runtimeDir, argv, jail, cwd: workingDirectory(), env: environment() };
    this.#child.stdin?.write(`${JSON.stringify(line)}\n`);
    const late = () => new SmartVMError('KEEPER_FAILED', `the keeper of VM ${id} failed: no word of it`);
    const hello = this.#parse(await withDeadline(this.#hello, HELLO_TIMEOUT_MS, late), id);
    if (hello.error) {
      const what = hello.error.code === 'VMM_SPAWN_FAILED' ? argv[0] : `the keeper of VM ${id}`;
      throw new SmartVMError(hello.error.code, `${what} could not be started: ${hello.error.message}`);
    }
    this.keepsProgram(false);
    this.#child.ref(); // what it says is for nobody any more; that it ends, is
    return this.#keeper(order, hello);
  }

  /** Ends it, and waits for that: one that has no VMM yet goes at once, one that has does as the keeper of an owner that goes. */
  async end(): Promise<void> {
    this.#child.ref();
    this.#child.stdin?.end();
    const late = setTimeout(() => this.#child.kill('SIGKILL'), KEEPER_EXIT_MS);
    await this.#ended;
    clearTimeout(late);
  }

  #keeper(
    { id, runtimeDir }: LaunchOrder,
    { keeperPid, keeperStartTime, vmmPid, vmmStartTime, bootId }: Hello,
  ): Keeper {
    const socketPath = join(runtimeDir, 'keeper.sock');
    const client = new SocketClient({ socketPath });
    let call: Promise<void> | undefined;
    const reach = () => {
      call ??= this.#call();
      return call;
    };
    const say = (word: OwnersWord) => void this.#child.stdin?.write(`${JSON.stringify(word)}\n`);
    const life = new KeeperLife(id, runtimeDir, { client, reach, say });
    const detach = async (word: KeeperWord) => {
      await life.begin(word, '/detached');
      this.#child.unref(); // a program waits for its VM to end, as for any child, but not for one that outlives it
    };
    return {
      process: { pid: keeperPid, startTime: keeperStartTime, bootId },
      vmm: { pid: vmmPid, startTime: vmmStartTime, bootId },
      console: new SocketClient({ socketPath }),
      ended: this.#ended,
      release: () => {
        life.close();
        say({ release: true });
        this.#child.unref();
      },
      end: () => this.end().finally(() => life.close()),
      kill: async () => say({ signal: 'SIGKILL' }),
      ...{ client, reach, say, life, detach },
    };
  }

  async #call(): Promise<void> {
    this.#child.stdin?.write('\n');
    // One that is stopped before that is not waited for without end.
    await withDeadline(this.#listens, REACHABLE_MS, () => new Error('late')).catch(() => undefined);
  }

  #parse(line: string, id: string): Hello {
    try {
      return JSON.parse(line) as Hello;
    } catch (cause) {
      const why = this.#failure?.message ?? (this.#stderr.trim() || 'it ended without a word');
      throw new SmartVMError('KEEPER_FAILED', `the keeper of VM ${id} failed: ${why}`, {
        cause: this.#failure ?? cause,
      });
    }
  }
}

/** What a process has printed by the end of its first line, or of all. */
function firstLine({ stdout }: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    stdout?.on('data', (chunk: Buffer) => {
      text += chunk;
      if (text.endsWith('\n')) {
        resolve(text);
      }
    });
    stdout?.once('close', () => resolve(text));
  });
}

/** A VMM that its guest has taken over can read its environment: tokens of this program's are not in it. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(ENVIRONMENT.flatMap((name) => (name in process.env ? [[name, process.env[name]]] : [])));
}

/** A VMM resolves relative paths from it. */
function workingDirectory(): string | undefined {
  try {
    return process.cwd();
  } catch {
    return undefined; // it is gone
  }
}
