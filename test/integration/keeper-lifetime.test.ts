import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { SmartVMError } from '../../ts/errors.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { isAlive } from '../../ts/util/process-identity.js';
import { isKeeperAlive } from '../../ts/vmm/keeper.js';
import { identityOf, openKeeperBench, requireKeeper, SLEEP, script, server } from '../support/keeper-bench.js';
import { until } from '../support/leftovers.js';
import { stopwatch } from '../support/stopwatch.js';

const NEVER = new AbortController().signal;
const codeOf = (error: unknown) => (error as SmartVMError).code;

beforeAll(requireKeeper);

describe('the keeper', () => {
  const READY = "socket.on('data', () => socket.write('HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}'));";

  test('files and sockets are for the owner alone, whatever the umask', async () => {
    await using bench = await openKeeperBench();
    const umask = process.umask(0);
    const vmm = await bench.start(server(READY));
    process.umask(umask);
    await vmm.waitUntilReady(10_000, NEVER);
    const names = await readdir(bench.scratch.file('vm'));
    expect(names.toSorted()).toEqual(['api.sock', 'console.log', 'keeper.sock', 'vmm.log']);
    for (const name of names) {
      expect([name, (await stat(bench.scratch.file('vm', name))).mode & 0o077]).toEqual([name, 0]);
    }
  });

  test('carries the console in both directions, over a FIFO', async () => {
    await using bench = await openKeeperBench();
    const vmm = await bench.start(script('stat -L -c %F /dev/stdin', 'exec cat'));
    let text = '';
    const reading = (async () => {
      for await (const chunk of vmm.console()) {
        text += chunk;
      }
    })();
    await until(() => text === 'fifo\n', 30_000, 'the greeting');
    await vmm.writeConsole(Buffer.from('PING\n'));
    await until(() => text === 'fifo\nPING\n', 30_000, 'the echo');
    expect(await vmm.consoleTail(1)).toEqual(['PING']);
    await vmm.signal('SIGTERM');
    await reading;
    expect(await vmm.exited).toMatchObject({ exitCode: null, signal: 'SIGTERM', reason: 'exited' });
  });

  test('is killed: the VMM dies too, and the exit says so', async () => {
    await using bench = await openKeeperBench();
    const vmm = await bench.start(script(SLEEP));
    const identity = await identityOf(vmm.pid);
    process.kill(vmm.keeperPid, 'SIGKILL');
    const exit = await vmm.exited;
    expect(exit).toEqual({ exitCode: null, signal: null, reason: 'keeper-lost', startedAt: null, exitedAt: null });
    expect(await isAlive(identity)).toBe(false);
    expect(vmm.exitError).toMatchObject({ code: 'VMM_EXITED', message: expect.stringContaining('keeper was killed') });
    expect(await isKeeperAlive(bench.scratch.file('vm'))).toBe(false);
  });

  test('that has stopped answering does not keep dispose() from ending both', async () => {
    await using bench = await openKeeperBench();
    const vmm = await bench.start(script("trap '' TERM", SLEEP));
    const identities = await Promise.all([identityOf(vmm.pid), identityOf(vmm.keeperPid)]);
    process.kill(vmm.keeperPid, 'SIGSTOP');
    await vmm.dispose();
    expect(await Promise.all(identities.map(isAlive))).toEqual([false, false]);
  });

  test('ends with everything by dispose(), which can be called twice', async () => {
    await using bench = await openKeeperBench();
    const vmm = await bench.start(script("trap '' TERM", SLEEP));
    const identities = await Promise.all([identityOf(vmm.pid), identityOf(vmm.keeperPid)]);
    await until(() => isKeeperAlive(bench.scratch.file('vm')), 30_000, 'the socket of the keeper');
    await Promise.all([vmm.dispose(), vmm.dispose()]);
    await vmm.dispose();
    expect(await Promise.all(identities.map(isAlive))).toEqual([false, false]);
    expect(await vmm.exited).toMatchObject({ signal: 'SIGKILL' });
    await expect(vmm.api.client.get('/')).rejects.toMatchObject({ code: 'API_UNREACHABLE' });
  });

  test('ends a VMM whose console takes no more input', async () => {
    await using bench = await openKeeperBench();
    const vmm = await bench.start(script(SLEEP));
    const writes = Array.from({ length: 8 }, () => vmm.writeConsole(Buffer.alloc(200_000)).catch(codeOf));
    await vmm.signal('SIGCONT'); // is not held up by them
    await vmm.dispose();
    for (const outcome of await Promise.all(writes)) {
      expect(['API_REFUSED', 'API_UNREACHABLE']).toContain(outcome);
    }
  });

  test('explain() finds the exit behind a broken call, and leaves other errors alone', async () => {
    await using bench = await openKeeperBench();
    const vmm = await bench.start(server(READY));
    await vmm.waitUntilReady(10_000, NEVER);
    await vmm.signal('SIGKILL');
    const tookMs = stopwatch();
    const broken = await vmm.api.client.get('/hang', { timeoutMs: 60_000 }).then(
      () => vmm.exited.then(() => vmm.api.client.get('/').catch((error: unknown) => error)),
      (error: unknown) => error,
    );
    expect(await vmm.explain(broken)).toMatchObject({ code: 'VMM_EXITED' });
    expect(tookMs()).toBeLessThan(1_000);
    const other = new Error('other');
    expect(await vmm.explain(other)).toBe(other);
  });
});

describe('the owner', () => {
  test('is killed: VMM and keeper end, and the directory is removed', async () => {
    await using bench = await openKeeperBench();
    await writeFile(bench.scratch.file('vmm'), script("trap '' TERM", SLEEP));
    await chmod(bench.scratch.file('vmm'), 0o755);
    const options = {
      id: 'vm-1',
      executable: bench.scratch.file('vmm'),
      socketPath: bench.scratch.file('vm', 'api.sock'),
      runtimeDir: bench.scratch.file('vm'),
    };
    const module = join(PACKAGE_ROOT, 'ts/vmm/vmm-process.ts');
    const code = `import(${JSON.stringify(module)}).then(async ({ VmmProcess }) => {
      const vmm = await VmmProcess.start(${JSON.stringify(options)});
      console.log(JSON.stringify([vmm.pid, vmm.keeperPid]));
    })`;
    const owner = spawn(process.execPath, ['--import', 'tsx', '--eval', code], {
      cwd: PACKAGE_ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(owner.stdout, 'data')) as [Buffer];
    const identities = await Promise.all((JSON.parse(line.toString()) as number[]).map(identityOf)).finally(() =>
      owner.kill('SIGKILL'),
    );
    await until(async () => !(await Promise.all(identities.map(isAlive))).includes(true), 30_000, 'the end of both');
    expect(existsSync(options.runtimeDir)).toBe(false);
  });
});
