import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import type { MachineConfig } from '../api/bodies.js';
import { Fault } from '../fault.js';
import type { VsockDevice } from '../vsock/device.js';
import { MachineBalloon } from './balloon.js';
import { FIRST_TAP_FD, type MachineSpec, QMP_FD, qemuArguments, qemuBinary, VSOCK_FD } from './command-line.js';
import { MachineDrives } from './drives.js';
import { MachineHotplugMemory } from './hotplug-memory.js';
import { Qmp, QmpError, type QmpEvent } from './qmp.js';

const STDERR_TAIL_BYTES = 4096;
/** How long QEMU may take to leave after `quit` before it is killed. */
const QUIT_MS = 1000;

const NO_MEMORY = 'Invalid Memory Configuration: Cannot create mmap region: Cannot allocate memory (os error 12)';
const NO_HUGE_PAGES =
  'System configuration error: Cannot load kernel due to invalid memory configuration or invalid kernel image: Kernel Loader: failed to load ELF kernel image: Kernel Loader: Unable to read kernel image';

/** How a machine ended: by its guest, or QEMU by itself with these last words. */
export type MachineEnd = { readonly by: 'guest' } | { readonly by: 'crash'; readonly reason: string };

/** What a machine is joined to besides what its arguments name. */
interface MachineConnections {
  readonly vsock: VsockDevice | undefined;
  /** What the serial port writes to instead of standard output; nothing is read then. */
  readonly serialFd: number | undefined;
}

/** A running QEMU. */
export class Machine {
  /** Settles once QEMU has gone. */
  readonly ended: Promise<MachineEnd>;
  readonly drives: MachineDrives;
  readonly balloon: MachineBalloon;
  readonly hotplugMemory: MachineHotplugMemory;
  readonly #spec: MachineSpec;
  readonly #process: ChildProcess;
  readonly #qmp: Qmp;
  readonly #vsock: VsockDevice | undefined;
  #onMigration: (status: unknown) => void = () => undefined;
  #guestEnded = false;
  #stderrTail = '';

  private constructor(spec: MachineSpec, { vsock, serialFd }: MachineConnections) {
    this.#spec = spec;
    this.#vsock = vsock;
    const taps = spec.interfaces.map(({ tap }) => tap.fd ?? 'ignore'); // each has its place
    const console = serialFd === undefined ? (['inherit', 'inherit'] as const) : (['ignore', serialFd] as const);
    const incoming = spec.incoming ? 'pipe' : 'ignore';
    // QEMU ends with this process, however that ends: the kernel sees to it.
    this.#process = spawn('setpriv', ['--pdeathsig', 'KILL', qemuBinary(spec.arch), ...qemuArguments(spec)], {
      stdio: [...console, 'pipe', 'pipe', vsock && !spec.vsockPath ? 'pipe' : 'ignore', ...taps, incoming],
    });
    this.#process.stderr?.on('data', (chunk: Buffer) => this.#onStderr(chunk));
    this.#qmp = new Qmp(this.#process.stdio[QMP_FD] as Duplex, (event) => this.#onEvent(event));
    this.drives = new MachineDrives(this.#qmp);
    this.balloon = new MachineBalloon(this.#qmp, spec.machineConfig.mem_size_mib);
    this.hotplugMemory = new MachineHotplugMemory(this.#qmp);
    this.ended = new Promise((resolve) => {
      this.#process.once('error', (cause) => resolve({ by: 'crash', reason: cause.message }));
      this.#process.once('close', (code, signal) => resolve(this.#describeEnd(code, signal)));
    });
  }

  /**
   * Starts QEMU and lets the guest run.
   * @throws Fault with QEMU's words when it refuses; nothing of it is left then
   */
  static async start(spec: MachineSpec, connections: MachineConnections): Promise<Machine> {
    const machine = new Machine(spec, connections);
    return await machine
      .#bringUp(() => [machine.#setUpDevices(), machine.resume()])
      .catch((error: Error) => {
        throw startFault(error.message, spec.machineConfig);
      });
  }

  /**
   * Starts QEMU where a snapshot left off, paused.
   * @param deviceState what `saveDevices` wrote
   * @param fillMemory puts the guest's memory in place, where the machine has none of the snapshot's file
   * @throws Error with QEMU's words when it refuses; nothing of it is left then
   */
  static async restore(
    spec: MachineSpec,
    connections: MachineConnections,
    deviceState: Buffer,
    fillMemory: (pid: number) => Promise<void> = async () => undefined,
  ): Promise<Machine> {
    const machine = new Machine(spec, connections);
    return await machine.#bringUp(() => [
      machine.#load(deviceState, () => fillMemory(machine.pid)),
      machine.#setUpDevices(),
    ]);
  }

  /** The process that holds the guest's memory. */
  get pid(): number {
    return this.#process.pid ?? 0;
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

  /**
   * Writes the state of everything but the memory to a file, which it replaces. The machine is to be paused. Unlike a migration, after which a
   * machine must run before it can be saved again, this leaves it as it is.
   */
  async saveDevices(path: string): Promise<void> {
    await this.#qmp.execute('xen-save-devices-state', { filename: path, live: false });
  }

  /** @throws Error with QEMU's words */
  async #bringUp(steps: () => readonly Promise<unknown>[]): Promise<this> {
    try {
      const channel = this.#process.stdio[VSOCK_FD] as Duplex | null | undefined;
      if (channel) {
        await this.#vsock?.plug(channel);
      }
      await Promise.all([this.#qmp.execute('qmp_capabilities'), ...steps()]);
      return this;
    } catch (error) {
      this.kill();
      const end = await this.ended;
      const answered = error instanceof QmpError && !error.ended;
      throw answered || end.by === 'guest' ? error : new Error(end.reason, { cause: error });
    }
  }

  async #setUpDevices(): Promise<void> {
    const { drives, balloon } = this.#spec;
    await Promise.all([
      ...drives.map((drive, index) => drive.rateLimiter && this.drives.limit(index, drive.rateLimiter)),
      balloon && this.balloon.setTarget(balloon.amount_mib),
      balloon && this.balloon.setPollingInterval(balloon.stats_polling_interval_s),
    ]);
  }

  async #load(deviceState: Buffer, fillMemory: () => Promise<void>): Promise<void> {
    const fd = FIRST_TAP_FD + this.#spec.interfaces.length;
    const done = new Promise<unknown>((resolve) => {
      this.#onMigration = (status) => (status === 'completed' || status === 'failed') && resolve(status);
    });
    const channel = this.#process.stdio[fd] as Duplex;
    channel.on('error', () => undefined); // QEMU's end of it says why
    await this.#qmp.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
    await fillMemory();
    channel.end(deviceState);
    await this.#qmp.execute('migrate-incoming', { uri: `fd:${fd}` });
    const status = await Promise.race([done, this.ended]);
    if (status !== 'completed') {
      throw new QmpError('QEMU did not take the state of the devices', true);
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
    } else if (event === 'MIGRATION') {
      this.#onMigration(data?.status);
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
function startFault(reason: string, { huge_pages }: MachineConfig): Fault {
  const noMemory = /cannot set up guest memory|unable to map backing store for guest RAM/.test(reason);
  // Huge pages are reserved as they are touched, which the kernel's image is the first to do.
  const words = huge_pages === '2M' ? NO_HUGE_PAGES : NO_MEMORY;
  return new Fault(`Start microvm error: ${noMemory ? words : reason}`);
}
