import { readdir, readFile } from 'node:fs/promises';

/** Command lines of the living processes that name a path, such as a test's runtime directory. */
export async function processesNaming(path: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const lines = await Promise.all(
    pids.map(async (pid) => {
      const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      return commandLine.includes(path) ? `${pid} ${commandLine.replaceAll('\0', ' ')}` : undefined;
    }),
  );
  return lines.filter((line) => line !== undefined);
}

/** Polls until a condition holds, for conditions that nothing announces. */
export async function until(
  condition: () => Promise<boolean> | boolean,
  timeoutMs: number,
  what: string,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) {
      throw new Error(`${what} did not come within ${timeoutMs} ms`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
