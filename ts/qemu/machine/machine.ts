import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import type { RateLimiter } from '../api/bodies.js';
import { Fault } from '../fault.js';
import type { BackingFile, CheckedDrive } from '../resources/drives.js';
import type { VsockDevice } from '../vsock/device.js';
import {
  driveBackendPath,
  driveFileNodeName,
  driveNodeName,
  fileNode,
  formatNode,
  type MachineSpec,
  QMP_FD,
  qemuArguments,
  qemuBinary,
  VSOCK_FD,
} from './command-line.js';
import { Qmp, QmpError, type QmpEvent } from './qmp.js';
import { throttleLimits } from './throttle.js';

const STDERR_TAIL_BYTES = 4096;
/** How long QEMU may take to leave after `quit` before it is killed. */
const QUIT_MS = 1000;
const SECTOR_BYTES = 512;

/** How a machine ended: by its guest, or QEMU by itself with these last words. */
export type MachineEnd = { readonly by: 'guest' } | { readonly by: 'crash'; readonly reason: string };

/** A running QEMU. */
export class Machine {
  /** Settles once QEMU has gone. */
  readonly ended: Promise<MachineEnd>;
  readonly #process: ChildProcess;
  readonly #qmp: Qmp;
  readonly #vsock: VsockDevice | undefined;
  readonly #fileGenerations = new Map<number, number>();
  #guestEnded = false;
  #stderrTail = '';

  private constructor(spec: MachineSpec, vsock: VsockDevice | undefined) {
    this.#vsock = vsock;
    const taps = spec.interfaces.map(({ tap }) => tap.fd);
    // QEMU ends with this process, however that ends: the kernel sees to it.
    this.#process = spawn('setpriv', ['--pdeathsig', 'KILL', qemuBinary(spec.arch), ...qemuArguments(spec)], {
      stdio: ['inherit', 'inherit', 'pipe', 'pipe', vsock ? 'pipe' : 'ignore', ...taps],
    });
    this.#process.stderr?.on('data', (chunk: Buffer) => this.#onStderr(chunk));
    this.#qmp = new Qmp(this.#process.stdio[QMP_FD] as Duplex, (event) => this.#onEvent(event));
    this.ended = new Promise((resolve) => {
      this.#process.once('error', (cause) => resolve({ by: 'crash', reason: cause.message }));
      this.#process.once('close', (code, signal) => resolve(this.#describeEnd(code, signal)));
    });
  }

  /**
   * Starts QEMU and lets the guest run.
   * @throws Fault with QEMU's words when it refuses; nothing of it is left then
   */
  static async start(spec: MachineSpec, vsock: VsockDevice | undefined): Promise<Machine> {
    const machine = new Machine(spec, vsock);
    try {
      const channel = machine.#process.stdio[VSOCK_FD] as Duplex | null | undefined;
      await vsock?.plug(channel as Duplex);
      await Promise.all([
        machine.#qmp.execute('qmp_capabilities'),
        ...spec.drives.map((drive, index) => drive.rateLimiter && machine.limitDrive(index, drive.rateLimiter)),
        machine.resume(),
      ]);
      return machine;
    } catch (error) {
      machine.kill();
      const end = await machine.ended;
      const answered = error instanceof QmpError && !error.ended;
      throw startFault(answered || end.by === 'guest' ? (error as Error).message : end.reason);
    }
  }

  async pause(): Promise<void> {
    await this.#qmp.execute('stop');
  }

  async resume(): Promise<void> {
    await this.#qmp.execute('cont');
  }

  async sendCtrlAltDel(): Promise<void> {
    const keys = ['ctrl', 'alt', 'delete'].map((data) => ({ type: 'qcode', data }));
    await this.#qmp.execute('send-key', { keys });
  }

  async limitDrive(index: number, limiter: RateLimiter | null): Promise<void> {
    await this.#qmp.execute('block_set_io_throttle', { id: driveBackendPath(index), ...throttleLimits(limiter) });
  }

  /** Puts another file under a drive. The guest is told of its size, unless it is read-only or a block device. */
  async replaceDriveFile(index: number, drive: CheckedDrive, file: BackingFile): Promise<void> {
    const generation = this.#fileGenerations.get(index) ?? 0;
    const next = driveFileNodeName(index, generation + 1);
    await this.#qmp.execute('blockdev-add', fileNode(next, file, drive));
    this.#fileGenerations.set(index, generation + 1);
    let unused = driveFileNodeName(index, generation);
    try {
      await this.#qmp.execute('blockdev-reopen', { options: [formatNode(index, next, drive)] });
    } catch (error) {
      unused = next;
      throw error;
    } finally {
      await this.#qmp.execute('blockdev-del', { 'node-name': unused });
    }
    await this.#announceSize(index, drive, file);
  }

  /** QEMU tells the guest of a new size only when it resizes a disk itself: it is asked to, to the size that is there. */
  async #announceSize(index: number, drive: CheckedDrive, { sizeBytes: size }: BackingFile): Promise<void> {
    if (!drive.isReadOnly && size > 0 && size % SECTOR_BYTES === 0) {
      await this.#qmp.execute('block_resize', { 'node-name': driveNodeName(index), size });
    }
  }

  /** Ends QEMU at once. */
  kill(): void {
    this.#process.kill('SIGKILL');
  }

  #onEvent({ event, data }: QmpEvent): void {
    if (event === 'VSERPORT_CHANGE') {
      this.#vsock?.setGuestOpen(data?.open === true);
    } else if (event === 'SHUTDOWN' && data?.guest === true) {
      void this.#quit();
    }
  }

  /** `quit` rather than a signal: what QEMU still holds for the console and the disks goes out. */
  async #quit(): Promise<void> {
    this.#guestEnded = true;
    const timer = setTimeout(() => this.kill(), QUIT_MS);
    await this.#qmp.execute('quit').catch(() => undefined);
    await this.ended;
    clearTimeout(timer);
  }

  #onStderr(chunk: Buffer): void {
    process.stderr.write(chunk);
    this.#stderrTail = (this.#stderrTail + chunk.toString()).slice(-STDERR_TAIL_BYTES);
  }

  #describeEnd(code: number | null, signal: NodeJS.Signals | null): MachineEnd {
    if (this.#guestEnded) {
      return { by: 'guest' };
    }
    const how = signal === null ? `exited with ${code}` : `was ended by ${signal}`;
    return { by: 'crash', reason: `QEMU ${how}: ${this.#stderrTail.trim() || '(it said nothing)'}` };
  }
}

/** QEMU's reason as an answer of the API; in Firecracker's words where it has some for it. */
function startFault(reason: string): Fault {
  const noMemory = /cannot set up guest memory|unable to map backing store for guest RAM/.test(reason);
  return new Fault(
    `Start microvm error: ${noMemory ? 'Invalid Memory Configuration: Cannot create mmap region: Cannot allocate memory (os error 12)' : reason}`,
  );
}
