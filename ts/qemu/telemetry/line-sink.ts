import { writeSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';

/** A file or FIFO that takes whole lines. What a full FIFO does not take is lost: nothing waits for a reader. */
export class LineSink {
  readonly #file: FileHandle;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** False when the line could not be written. */
  write(line: string): boolean {
    try {
      const bytes = Buffer.from(line);
      return writeSync(this.#file.fd, bytes) === bytes.length;
    } catch {
      return false;
    }
  }
}
