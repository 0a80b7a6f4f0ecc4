import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import type { ProcessIdentity } from '../../ts/util/process-identity.js';
import { processIdentity } from '../../ts/util/process-identity.js';
import { run } from '../../ts/util/run.js';
import { until } from './leftovers.js';
import { scratchDirectory } from './scratch.js';

const SOURCE = `
#include <pthread.h>
#include <unistd.h>
static void *wait_long(void *none) { for (;;) sleep(1000); }
int main(void) { pthread_t other; pthread_create(&other, 0, wait_long, 0); pthread_exit(0); }`;

/** A process whose first thread has ended and whose other has not, as one that was killed is for moments, but for good. */
export async function halfEnded(): Promise<{ identity: ProcessIdentity } & AsyncDisposable> {
  await using scratch = await scratchDirectory();
  await writeFile(scratch.file('main.c'), SOURCE);
  await run('gcc', ['-pthread', '-o', scratch.file('main'), scratch.file('main.c')]);
  const child = spawn(scratch.file('main'), { stdio: 'ignore' });
  const end = async () => {
    const closed = once(child, 'close');
    child.kill('SIGKILL');
    await closed;
  };
  try {
    await once(child, 'spawn');
    const state = async () => /^State:\t(.)/m.exec(await readFile(`/proc/${child.pid}/status`, 'utf8'))?.[1];
    await until(async () => (await state()) === 'Z', 30_000, 'the end of its first thread');
    const identity = (await processIdentity(child.pid as number)) as ProcessIdentity; // its other thread lives
    return { identity, [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw error;
  }
}
