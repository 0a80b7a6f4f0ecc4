import { join } from 'node:path';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { run } from '../../ts/util/run.js';

/** A guest kernel for x86_64 of a few dozen instructions: greets on its serial port, answers `p` by PONG, and resets on `q`. */
export async function compileToyGuest(path: string): Promise<void> {
  const source = join(PACKAGE_ROOT, 'test/fixtures/toy-guest.S');
  const flags = ['-nostdlib', '-static', '-no-pie', '-Wl,-Ttext=0x1000000', '-Wl,--build-id=none'];
  await run('gcc', [...flags, '-o', path, source]);
}
