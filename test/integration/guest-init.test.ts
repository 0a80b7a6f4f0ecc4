import { chmod, copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import type { VmExit } from '../../ts/vm/exit.js';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { hostArch } from '../../ts/vmm/host.js';
import { type Bench, openBench } from '../support/debian-vm.js';
import { until } from '../support/leftovers.js';
import { type ScratchDirectory, scratchDirectory } from '../support/scratch.js';

/** For what hangs. */
const LIMIT = 120_000;

describe("a guest whose PID 1 is the image's systemd", () => {
  let bench: Bench;
  let vm: MicroVM;

  beforeAll(async () => {
    bench = await openBench();
    vm = await bench.smartvm.launch({ init: 'image', hostname: 'web7', startTimeoutMs: 240_000 });
  }, 300_000);

  afterAll(async () => {
    await bench[Symbol.asyncDispose]();
  });

  const shell = async (script: string): Promise<string> =>
    (await vm.exec(script, { shell: true, reject: true, timeoutMs: LIMIT })).stdout.trim();

  async function service(name: string, lines: string): Promise<void> {
    await vm.files.write(`/run/systemd/system/${name}.service`, `[Service]\n${lines}\n`);
    await shell(`systemctl start ${name}`);
  }

  it('is up and in order when it is launched, with the agent beside it', async () => {
    expect(await shell('systemctl is-system-running; cat /proc/1/comm')).toBe('running\nsystemd');
    expect(await shell('hostname; cat /etc/hostname; wc -c < /etc/machine-id')).toBe('web7\nweb7\n33');
    // What runs for the host is of no unit of systemd's, nor is the agent, which memory that runs short does not end, unlike the rest.
    expect(await shell('cat /proc/self/cgroup /proc/self/oom_score_adj')).toBe('0::/smartvm/agent\n0');
    expect(await shell('tr "\\0" " " < /proc/$PPID/cmdline; cat /proc/$PPID/oom_score_adj')).toBe(
      '@smartvm-agent beside -1000',
    );
    expect(await shell('systemctl list-units --all "*getty*" --no-legend --state=active')).toBe('');
    expect((await vm.guestMetrics()).processes.total).toBeGreaterThan(2);
  });

  it('goes on beside a systemd that is executed anew, and reaps what is left to it', async () => {
    const job = await vm.spawn(['sleep', '1000'], { detached: true });
    job.stdout.resume();
    await shell('systemctl daemon-reexec; systemctl daemon-reload; kill -TERM $PPID');
    expect(await shell(`cut -d' ' -f4 /proc/${job.pid}/stat; echo $PPID`)).toMatch(/^(\d+)\n\1$/);
    // A process whose parent has gone is the agent's; once it has ended, nothing of it is left.
    const orphan = await shell('sh -c "sleep 1000 >/dev/null 2>&1 & echo \\$!"');
    expect(await shell(`cut -d' ' -f4 /proc/${orphan}/stat; echo $PPID`)).toMatch(/^(\d+)\n\1$/);
    await shell(`kill -KILL ${orphan}`);
    const isGone = async () => (await shell(`test -e /proc/${orphan} || echo gone`)) === 'gone';
    await until(isGone, LIMIT, 'the end of the orphan');
    job.kill('SIGKILL');
    expect(await job.wait()).toEqual({ exitCode: null, signal: 'SIGKILL' });
  });

  it('holds commands to limits, which systemd leaves alone', async () => {
    await service('limited', 'ExecStart=/bin/sleep infinity\nMemoryMax=50M');
    const limited = await vm.exec(
      'cat /proc/self/cgroup; cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/pids.max',
      {
        shell: true,
        limits: { processes: 20, memoryMib: 64 },
        timeoutMs: LIMIT,
      },
    );
    expect(limited.stdout).toMatch(/^0::\/smartvm\/\d+\n20\n$/);
  });

  it('is stopped by its services in their order, in spite of a command that will not end', async () => {
    await service('last', "ExecStart=/bin/sleep infinity\nExecStop=/bin/sh -c 'echo last-has-stopped > /dev/console'");
    let console = '';
    vm.on('console', (chunk) => {
      console += chunk;
    });
    const stubborn = vm.exec(['sh', '-c', 'trap "" TERM; sleep 1000 & wait; sleep 1000']).catch(() => undefined);
    expect(await vm.stop()).toEqual({ rung: 'guest' });
    await stubborn;
    expect(console).toContain('last-has-stopped');
    expect(await bench.leftovers()).toEqual([]);
  });

  it('ends the VM when it powers itself off', async () => {
    const other = await bench.smartvm.launch({ init: 'image', startTimeoutMs: 240_000 });
    const exit = new Promise<VmExit>((resolve) => other.once('exit', resolve));
    await other.exec(['systemctl', 'poweroff']).catch(() => undefined);
    expect(await exit).toMatchObject({ reason: 'guest-shutdown', orderly: true });
    expect(await bench.leftovers()).toEqual([]);
  });
});

describe('an image whose init does not come up', () => {
  let bench: Bench;
  let scratch: ScratchDirectory;

  beforeAll(async () => {
    [bench, scratch] = await Promise.all([openBench(), scratchDirectory()]);
  });

  afterAll(async () => {
    expect(await bench.leftovers()).toEqual([]);
    await bench[Symbol.asyncDispose]();
    await scratch[Symbol.asyncDispose]();
  });

  /** Launches an image of one program at most, and gives the error. */
  async function failure(name: string, init?: { path: string; program?: string }, startTimeoutMs = 240_000) {
    const root = scratch.file(name);
    await mkdir(join(root, 'etc'), { recursive: true });
    await writeFile(join(root, 'etc/passwd'), 'root:x:0:0:root:/:/bin/sh\n');
    if (init) {
      const path = join(root, init.path);
      await mkdir(dirname(path), { recursive: true });
      const { program } = init;
      await (program ? copyFile(join(PACKAGE_ROOT, 'dist/bin', program), path) : writeFile(path, 'no program\n'));
      await chmod(path, 0o755);
      if (init.path !== 'sbin/init') {
        await mkdir(join(root, 'sbin'));
        await symlink(`/${init.path}`, join(root, 'sbin/init'));
      }
    }
    return await bench.smartvm.launch({ image: root, init: 'image', startTimeoutMs }).then(
      () => undefined,
      (error: unknown) => error,
    );
  }

  it('is refused where it has none, by what was looked for', async () => {
    expect(await failure('none')).toMatchObject({
      code: 'INIT_MISSING',
      message: expect.stringContaining('/sbin/init'),
      details: { lookedFor: expect.arrayContaining(['/sbin/init', '/lib/systemd/systemd']) },
    });
  }, 300_000);

  it('is refused where it cannot be executed', async () => {
    expect(await failure('text', { path: 'sbin/init' })).toMatchObject({
      code: 'INIT_FAILED',
      message: expect.stringContaining('exec /sbin/init: exec format error'),
    });
  }, 300_000);

  it('fails with the last words of one that ends', async () => {
    // A guest that is up is none for the agent to boot: as an init, it gives up.
    const program = `smartvm-agent-${hostArch()}`;
    expect(await failure('dies', { path: 'sbin/init', program })).toMatchObject({
      code: 'VMM_EXITED',
      message: expect.stringContaining('smartvm-agent: mount sysfs on /sys: device or resource busy'),
    });
  }, 300_000);

  it('fails in time with one that hangs', async () => {
    // A program that waits for an order is an init that never says that it is up, as systemd would.
    const program = `smartvm-launch-${hostArch()}`;
    expect(await failure('hangs', { path: 'lib/systemd/systemd', program }, 40_000)).toMatchObject({
      code: 'BOOT_TIMEOUT',
      message: expect.stringContaining("the image's own init is not up in time"),
    });
  }, 300_000);
});
