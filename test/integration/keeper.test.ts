import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import type { SmartVMError } from '../../ts/errors.js';
import { isAlive } from '../../ts/util/process-identity.js';
import { identityOf, openKeeperBench, requireKeeper, SLEEP, script, server } from '../support/keeper-bench.js';
import { processesNaming, until } from '../support/leftovers.js';
import { stopwatch } from '../support/stopwatch.js';

const NEVER = new AbortController().signal;
const codeOf = (error: unknown) => (error as SmartVMError).code;

beforeAll(requireKeeper);

describe('a VMM that cannot be spawned: VMM_SPAWN_FAILED', () => {
  const FAILURES: [string, (executable: string) => Promise<unknown>, RegExp][] = [
    ['missing', async () => undefined, /broken could not be started: .*no such file/],
    ['not executable', (path) => writeFile(path, script('true'), { mode: 0o644 }), /permission denied/],
    ['a directory', (path) => mkdir(path), /broken could not be started: .*is a directory/],
    ['empty', (path) => writeFile(path, '', { mode: 0o755 }), /exec format error/],
    [
      'of another architecture',
      async (path) => writeFile(path, await otherArchitecture(), { mode: 0o755 }),
      /exec format error/,
    ],
  ];

  test.each(FAILURES)('%s', async (_what, make, message) => {
    await using bench = await openKeeperBench();
    const executable = bench.scratch.file('broken');
    await make(executable);
    const error = await bench.start('', { executable }).catch((reason: unknown) => reason as SmartVMError);
    expect(error).toMatchObject({ code: 'VMM_SPAWN_FAILED' });
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).toContain(executable);
    await until(async () => (await processesNaming(bench.scratch.path)).length === 0, 30_000, 'the end of the keeper');
  });

  test('a socket path over 107 bytes is refused before anything runs', async () => {
    await using bench = await openKeeperBench();
    const socketPath = bench.scratch.file('x'.repeat(100));
    const error = await bench.start(script(`touch ${bench.scratch.file('ran')}`), { socketPath }).catch(codeOf);
    expect(error).toBe('SOCKET_PATH_TOO_LONG');
    expect(await readdir(bench.scratch.path)).toEqual(['vm', 'vmm']);
    expect(await readdir(bench.scratch.file('vm'))).toEqual([]);
  });
});

describe('a VMM that ends before it is ready: VMM_EXITED', () => {
  test('with the tail of what it said on both outputs', async () => {
    await using bench = await openKeeperBench();
    const vmm = await bench.start(script('echo on the console', 'seq 100 >&2', 'echo the reason >&2', 'exit 1'));
    const error = await vmm.waitUntilReady(10_000, NEVER).catch((reason: unknown) => reason as SmartVMError);
    expect(error).toMatchObject({ code: 'VMM_EXITED' });
    expect((error as SmartVMError).message).toMatch(
      /it exited with 1 \(GenericError\)\n[\s\S]* {2}100\n {2}the reason\n {2}console:\n {2}on the console$/,
    );
    expect((error as SmartVMError).details).toMatchObject({
      id: 'vm-1',
      consoleTail: ['on the console'],
      vmmTail: expect.arrayContaining(['100', 'the reason']),
      exit: { exitCode: 1, signal: null, reason: 'exited' },
    });
    expect(vmm.exit).toMatchObject({ exitCode: 1, signal: null, reason: 'exited' });
    expect(vmm.exitError).toBe(error);
  });

  test('without a word', async () => {
    await using bench = await openKeeperBench();
    const vmm = await bench.start(script('kill -SEGV $$'));
    await expect(vmm.waitUntilReady(10_000, NEVER)).rejects.toMatchObject({
      code: 'VMM_EXITED',
      message: 'VMM of vm-1: it was killed by SIGSEGV; it printed nothing',
    });
  });
});

describe('a VMM that never becomes ready: BOOT_TIMEOUT by the deadline, and the process ended', () => {
  const TIMEOUT_MS = 400;
  const VMMS: [string, string][] = [
    ['no socket', script('echo waiting >&2', SLEEP)],
    ['a socket that takes connections and hangs', server('')],
    ['half an answer', server("socket.on('data', () => socket.write('HTTP/1.1 200 OK\\r\\nContent-'));")],
    ['garbage', server("socket.write('SSH-2.0-OpenSSH_9.2\\r\\n');")],
    ['connections that end', server('socket.end();')],
    [
      'refusals',
      server("socket.on('data', () => socket.end('HTTP/1.1 503 Busy\\r\\nContent-Length: 0\\r\\n\\r\\n'));"),
    ],
  ];

  test.each(VMMS)('%s', async (_what, content) => {
    await using bench = await openKeeperBench();
    const vmm = await bench.start(content);
    const identity = await identityOf(vmm.pid);
    const begin = performance.now();
    const tookMs = stopwatch();
    const error = await vmm.waitUntilReady(TIMEOUT_MS, NEVER).catch((reason: unknown) => reason as SmartVMError);
    const [took, ownMs] = [performance.now() - begin, tookMs()];
    expect(error).toMatchObject({ code: 'BOOT_TIMEOUT', details: { id: 'vm-1' } });
    expect(took).toBeGreaterThanOrEqual(TIMEOUT_MS - 5);
    expect(ownMs).toBeLessThan(TIMEOUT_MS + 1_000);
    await vmm.dispose();
    expect(await isAlive(identity)).toBe(false);
  });

  test('a signal ends the wait: CANCELED', async () => {
    await using bench = await openKeeperBench();
    const vmm = await bench.start(server(''));
    const controller = new AbortController();
    const waiting = vmm.waitUntilReady(60_000, controller.signal);
    await until(() => existsSync(bench.scratch.file('vm', 'api.sock')), 30_000, 'the socket');
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'CANCELED' });
  });
});

/** This machine's own interpreter, said to be for a processor that it is not for (e_machine, ELF's bytes 18 and 19). */
async function otherArchitecture(): Promise<Buffer> {
  const program = await readFile('/bin/true');
  program.writeUInt16LE(0xf3, 18); // EM_RISCV
  return program;
}
