import { unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Vsock } from '../api/bodies.js';
import { Fault, osErrorText } from '../fault.js';
import { listenUnix } from '../unix-socket.js';
import type { GuestPort } from './guest-port.js';
import { readConnectRequest } from './handshake.js';

const FIRST_LOCAL_PORT = 2 ** 30;

type OnSession = (guest: Pick<GuestPort, 'dial'>) => void;

/**
 * The host's end of the guest's vsock: a Unix socket that speaks Firecracker's `CONNECT <port>\n` and `OK <port>\n`. The
 * guest's end is its agent, which carries the streams over a virtio-serial port.
 */
export class VsockDevice {
  readonly #config: Vsock;
  readonly #server: Server;
  readonly #onSession: OnSession;
  #guest: GuestPort | undefined;
  #isGuestOpen = false;
  #reconnect: (() => Promise<Duplex>) | undefined;
  #lastLocalPort = FIRST_LOCAL_PORT - 1;

  private constructor(config: Vsock, onSession: OnSession) {
    this.#config = config;
    this.#onSession = onSession;
    this.#server = createServer({ allowHalfOpen: true }, (socket) => void this.#accept(socket));
  }

  /**
   * Binds the socket.
   * @param onSession called whenever the guest's agent is there anew
   * @throws Fault
   */
  static async create(config: Vsock, onSession: OnSession): Promise<VsockDevice> {
    const device = new VsockDevice(config, onSession);
    await listenUnix(device.#server, config.uds_path).catch((error: Error) => {
      throw bindFault(error.message);
    });
    return device;
  }

  /** Gives up the socket, for another configuration to take its place. @throws Fault */
  remove(): void {
    try {
      unlinkSync(this.#config.uds_path);
    } catch (cause) {
      throw bindFault(osErrorText(cause));
    } finally {
      this.#server.close();
    }
  }

  /** Joins the device to the guest's port. @param channel the host's end of the port */
  async plug(channel: Duplex): Promise<void> {
    const { GuestPort } = await import('./guest-port.js');
    this.#guest = new GuestPort(channel);
    this.#setOpen(this.#guest, this.#isGuestOpen);
  }

  /** The guest opened or closed its end; until it is open, dials are refused. */
  setGuestOpen(open: boolean): void {
    const wasOpen = this.#isGuestOpen;
    this.#isGuestOpen = open;
    if (!this.#reconnect) {
      this.#setOpen(this.#guest, open);
    } else if (wasOpen) {
      const connect = this.#reconnect;
      this.#reconnect = undefined;
      void connect().then(
        (channel) => this.plug(channel),
        () => undefined, // QEMU has ended
      );
    }
  }

  #setOpen(guest: GuestPort | undefined, open: boolean): void {
    guest?.setOpen(open);
    if (guest && open) {
      this.#onSession(guest);
    }
  }

  /** Whether the guest has its end open. */
  get isGuestOpen(): boolean {
    return this.#isGuestOpen;
  }

  /**
   * Joins the device to the port of a guest out of a snapshot, whose agent is still in the middle of a connection that is gone. QEMU first tells that the
   * guest's end is open, as it was. The agent sees the host's end closed, and closes its own to open it anew, of which QEMU, who tells of a port once a second at
   * most, may tell in one: it is open, once more. The new connection begins after that.
   */
  plugAfterClose(connect: () => Promise<Duplex>): void {
    this.#reconnect = connect;
  }

  present(): Pick<Vsock, 'guest_cid' | 'uds_path'> {
    return { guest_cid: this.#config.guest_cid, uds_path: this.#config.uds_path };
  }

  async #accept(socket: Socket): Promise<void> {
    socket.on('error', () => socket.destroy());
    const port = await readConnectRequest(socket);
    const stream = port === undefined ? undefined : await this.#guest?.dial(port);
    if (!stream) {
      socket.destroy(); // an end of file without `OK` is the refusal
      return;
    }
    this.#lastLocalPort++;
    socket.write(`OK ${this.#lastLocalPort}\n`);
    join(socket, stream);
  }
}

/** Carries both directions until both have ended, or one end breaks. */
function join(socket: Socket, stream: Duplex): void {
  stream.on('error', () => socket.destroy());
  stream.once('close', () => socket.destroySoon());
  socket.once('close', () => stream.destroy());
  socket.pipe(stream);
  stream.pipe(socket);
  if (socket.destroyed) {
    stream.destroy();
  }
}

function bindFault(reason: string): Fault {
  return new Fault(
    `Vsock config error: Cannot create backend for vsock device: Error binding to the host-side Unix socket: ${reason}`,
  );
}
