import { constants, open as openFile, readSync } from 'node:fs';
import { Socket } from 'node:net';
import { promisify } from 'node:util';
import { run } from '../util/run.js';
import { LineLog } from './line-log.js';

const open = promisify(openFile);
const CHUNK_BYTES = 64 * 1024;
/** A FIFO holds up to 1 MiB; a writer that lives on may fill it for ever. */
const MAX_DRAIN_ROUNDS = 16;

/** Reads a FIFO from the moment it is opened, whoever may be listening: its writer, who drops what finds no room, finds room. */
export class FifoReader {
  readonly lines = new LineLog();
  readonly #fd: number;
  readonly #socket: Socket;
  #closed = false;

  private constructor(fd: number) {
    this.#fd = fd;
    // A socket of libuv's waits for the FIFO by epoll; a file stream would hold one of its four threads in read(2).
    this.#socket = new Socket({ fd, readable: true, writable: false });
    this.#socket.on('data', (chunk: Buffer) => this.lines.push(chunk));
    this.#socket.on('error', () => this.close());
    this.#socket.on('end', () => this.close()); // the last writer has closed it
    this.#socket.unref();
  }

  /** Opens a FIFO that is there. It needs no writer yet. */
  static async open(path: string): Promise<FifoReader> {
    return new FifoReader(await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW));
  }

  /** Makes a FIFO that only this user can open, and opens it. @throws SmartVMError TOOL_MISSING, TOOL_FAILED */
  static async make(path: string): Promise<FifoReader> {
    await run('mkfifo', ['-m', '600', '--', path]);
    return await FifoReader.open(path);
  }

  /** Takes what the FIFO still holds, then ends the lines. */
  close(): void {
    if (this.#closed) {
      return;
    }
    this.#closed = true;
    const buffer = Buffer.alloc(CHUNK_BYTES);
    let bytes = -1;
    for (let round = 0; round < MAX_DRAIN_ROUNDS && bytes !== 0; round++) {
      bytes = readSome(this.#fd, buffer);
      this.lines.push(buffer.subarray(0, bytes));
    }
    this.lines.end();
    this.#socket.destroy();
  }
}

/** 0 at the end, and when there is nothing for now (EAGAIN). */
function readSome(fd: number, buffer: Buffer): number {
  try {
    return readSync(fd, buffer);
  } catch {
    return 0;
  }
}
