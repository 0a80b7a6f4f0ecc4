import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SOURCE = fileURLToPath(new URL('../fixtures/toy-guest.S', import.meta.url));
const FLAGS = ['-nostdlib', '-static', '-no-pie', '-Wl,-Ttext=0x1000000', '-Wl,--build-id=none'];

/** A guest kernel of a few dozen instructions: greets on its serial port, answers `p` by PONG, and resets on `q`. x86_64. */
export async function compileToyGuest(path: string): Promise<void> {
  await promisify(execFile)('gcc', [...FLAGS, '-o', path, SOURCE]);
}
