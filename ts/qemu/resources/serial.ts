import { constants, type FileHandle, open } from 'node:fs/promises';
import { Fault, osErrorText } from '../fault.js';

/**
 * Opens what the guest's serial port writes to, a file or a FIFO; it is neither emptied nor appended to.
 * @throws Fault; that Firecracker calls it an EventFd is Firecracker's
 */
export async function openSerialOutput(path: string, refusal: string): Promise<FileHandle> {
  try {
    return await openNonblocking(path);
  } catch (cause) {
    throw new Fault(`${refusal} Error with EventFd: ${osErrorText(cause)}`);
  }
}

/** A file or FIFO for output, opened as Firecracker opens them: a FIFO that nobody reads yet holds nothing up. */
export function openNonblocking(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NONBLOCK, 0o666);
}
