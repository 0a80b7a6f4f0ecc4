import { kill } from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isSmartVMError, type SmartVMErrorCode } from '../../ts/errors.js';
import { BOOT } from '../../ts/vm/boot.js';
import type { MicroVM } from '../../ts/vm/micro-vm.js';
import { type Bench, openBench } from '../support/debian-vm.js';
import { stopwatch } from '../support/stopwatch.js';

const refusedWith = (code: SmartVMErrorCode) => (error: unknown) => isSmartVMError(error, code);

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    (value) => expect.fail(`resolved with ${JSON.stringify(value)}`),
    (error) => error,
  );
}

describe('a launched Debian guest', () => {
  let bench: Bench;
  let vm: MicroVM;

  beforeAll(async () => {
    bench = await openBench();
    vm = await bench.smartvm.launch({ id: 'guest', hostname: 'web', memSizeMib: 256 });
  }, 300_000);

  afterAll(async () => {
    await bench[Symbol.asyncDispose]();
  });

  it('runs an argument vector and tells its output and exit code', async () => {
    const { stdout, stderr, exitCode, signal } = await vm.exec(['uname', '-sn']);
    expect({ stdout, stderr, exitCode, signal }).toEqual({
      stdout: 'Linux web\n',
      stderr: '',
      exitCode: 0,
      signal: null,
    });
  });

  it('passes arguments on byte for byte, with no shell in between', async () => {
    const nasty = ["a'b", '$(id)', '`x`', 'ä\n*', '', '-n', '"'];
    const { stdout } = await vm.exec(['printf', '%s\\0', ...nasty]);
    expect(stdout.split('\0').slice(0, -1)).toEqual(nasty);
  });

  it('takes a command line only when asked for a shell', async () => {
    expect(await rejection(vm.exec('echo $((6*7))'))).toSatisfy(refusedWith('INVALID_OPTION'));
    expect((await vm.exec('echo $((6*7)) >&2; exit 3', { shell: true })).stderr).toBe('42\n');
  });

  it('gives a command its directory, environment, user and input', async () => {
    const options = { shell: true, cwd: '/usr', env: { GREETING: 'grüß "dich"' }, user: 'nobody', stdin: 'in\n' };
    const { stdout } = await vm.exec('pwd; echo "$GREETING"; id -un; cat', options);
    expect(stdout).toBe('/usr\ngrüß "dich"\nnobody\nin\n');
  });

  it('tells a command that is not there (127), is no program (126), or was killed', async () => {
    expect(await vm.exec(['no-such-program'])).toMatchObject({
      exitCode: 127,
      stderr: expect.stringContaining('no-such-program'),
    });
    expect((await vm.exec(['/etc/hostname'])).exitCode).toBe(126);
    expect(await vm.exec('kill -KILL $$', { shell: true })).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
  });

  it('ends the whole process group at a timeout', async () => {
    const error = await rejection(vm.exec('sleep 1000 & echo started; sleep 1000', { shell: true, timeoutMs: 3_000 }));
    expect(error).toSatisfy(refusedWith('EXEC_TIMEOUT'));
    expect((error as { details: { stdout: string } }).details.stdout).toBe('started\n');
    const { stdout } = await vm.exec('until ! grep -lzs ^sleep /proc/[0-9]*/cmdline; do :; done; echo none', {
      shell: true,
      timeoutMs: 10_000,
    });
    expect(stdout).toMatch(/none\n$/);
  });

  it('streams a spawned process both ways and signals its group', async () => {
    const cat = await vm.spawn(['cat']);
    const chunks: string[] = [];
    cat.stdout.on('data', (chunk: Buffer) => chunks.push(chunk.toString()));
    cat.stdin.write('to and fro\n');
    await expect.poll(() => chunks.join('')).toBe('to and fro\n');
    cat.kill('SIGTERM');
    cat.stderr.resume();
    expect(await cat.wait()).toEqual({ exitCode: null, signal: 'SIGTERM' });
  });

  it('writes to a layer of its own, over a root file system that is read-only', async () => {
    expect((await vm.exec('echo kept > /root/file && cat /root/file', { shell: true })).stdout).toBe('kept\n');
    expect((await vm.exec(['findmnt', '-no', 'FSTYPE', '/'])).stdout).toBe('overlay\n');
  });

  it('records when each step of its boot ran', () => {
    const steps = vm.timings.map((timing) => timing.step);
    expect(steps.toSorted()).toEqual(BOOT.flatMap((line) => line.map(({ name }) => name)).toSorted());
  });

  it('stops and carries on', async () => {
    await vm.pause();
    expect((await vm.getInfo()).state).toBe('Paused');
    expect(await rejection(vm.exec(['true']))).toSatisfy(refusedWith('INVALID_STATE'));
    await vm.resume();
    expect((await vm.exec(['true'])).exitCode).toBe(0);
  });

  it('is refused a second time under its id', async () => {
    expect(await rejection(bench.smartvm.launch({ id: 'guest' }))).toSatisfy(refusedWith('VM_EXISTS'));
  });

  it('shuts its guest down in order and leaves nothing', async () => {
    const exits: unknown[] = [];
    vm.on('exit', (exit) => exits.push(exit));
    expect(await vm.stop()).toEqual({ rung: 'guest' });
    expect(exits).toEqual([expect.objectContaining({ reason: 'stopped', orderly: true })]);
    expect(await bench.leftovers()).toEqual([]);
    expect(bench.smartvm.vmCount).toBe(0);
  });
});

describe('a launch that fails', () => {
  it.each([
    ['an unknown image', { image: 'windows' }, 'IMAGE_UNKNOWN'],
    ['an id that is a path', { id: '../x' }, 'INVALID_ID'],
    ['an id of 65 characters', { id: 'x'.repeat(65) }, 'INVALID_ID'],
    ['more memory than the host has', { memSizeMib: 1 << 30 }, 'MEMORY_EXCEEDED'],
    ['no virtual CPU', { vcpuCount: 0 }, 'INVALID_CONFIG'],
  ] as const)('for %s makes nothing', async (_what, options, code) => {
    await using bench = await openBench();
    expect(await rejection(bench.smartvm.launch(options))).toSatisfy(refusedWith(code));
    expect(await bench.leftovers()).toEqual([]);
    expect(bench.smartvm.vmCount).toBe(0);
  });

  it("for a kernel that panics tells the console's last words", async () => {
    await using bench = await openBench();
    const error = await rejection(bench.smartvm.launch({ bootArgs: 'rdinit=/nowhere' }));
    expect(error).toSatisfy(refusedWith('VMM_EXITED'));
    expect((error as Error).message).toContain('Kernel panic - not syncing');
    expect(await bench.leftovers()).toEqual([]);
  });

  it('for a guest that is too slow tells the console so far', async () => {
    await using bench = await openBench();
    const error = await rejection(
      bench.smartvm.launch({ bootArgs: 'loglevel=7 rdinit=/smartvm', startTimeoutMs: 1_000 }),
    );
    // On a busy machine the VMM's own first answer can take as long.
    expect((error as { code?: string }).code).toMatch(/^(BOOT|API)_TIMEOUT$/);
    expect(await bench.leftovers()).toEqual([]);
  });

  it('because it was canceled undoes what it made, at whatever moment', async () => {
    for (const ms of [0, 20, 60, 120, 250, 500, 1_000]) {
      await using bench = await openBench();
      expect(await rejection(bench.smartvm.launch({ signal: AbortSignal.timeout(ms) }))).toSatisfy(
        refusedWith('CANCELED'),
      );
      expect(await bench.leftovers()).toEqual([]);
    }
  });
});

describe('cleanup() of a program with a launch under way', () => {
  it.each([0, 100, 400])('ends it after %i ms, and leaves nothing', async (ms) => {
    await using bench = await openBench();
    const launch = rejection(bench.smartvm.launch());
    await new Promise((resolve) => setTimeout(resolve, ms));
    await bench.smartvm.cleanup();
    expect(await launch).toSatisfy(refusedWith('CANCELED'));
    expect(bench.smartvm.vmCount).toBe(0);
    expect(await bench.leftovers()).toEqual([]);
  });
});

describe('a VMM that is killed', () => {
  it('rejects what is pending within a second, and all is released', async () => {
    await using bench = await openBench();
    const vm = await bench.smartvm.launch();
    const exit = new Promise((resolve) => vm.once('exit', resolve));
    const pending = rejection(vm.exec(['sleep', '1000']));
    await vm.exec(['true']); // the sleep is on its way before it
    const tookMs = stopwatch();
    kill(vm.pid, 'SIGKILL');
    expect(await pending).toSatisfy(refusedWith('VMM_EXITED'));
    expect(tookMs()).toBeLessThan(1_000);
    expect(await exit).toMatchObject({ reason: 'vmm-killed', orderly: false, signal: 'SIGKILL' });
    expect(vm.state).toBe('failed');
    expect(await bench.leftovers()).toEqual([]);
    expect(await rejection(vm.exec(['true']))).toSatisfy(refusedWith('INVALID_STATE'));
  });

  it('in every fourth of 20 launches leaves nothing behind', async () => {
    await using bench = await openBench();
    for (let round = 0; round < 5; round++) {
      const vms = await Promise.all([1, 2, 3, 4].map(() => bench.smartvm.launch()));
      const outputs = await Promise.all(vms.map((vm) => vm.exec(['cat', '/proc/sys/kernel/random/boot_id'])));
      expect(new Set(outputs.map(({ stdout }) => stdout)).size).toBe(4);
      const [victim, ...others] = vms as [MicroVM, ...MicroVM[]];
      const exit = new Promise((resolve) => victim.once('exit', resolve));
      kill(victim.pid, 'SIGKILL');
      await Promise.all([exit, ...others.map((vm) => vm.cleanup())]);
    }
    expect(await bench.leftovers()).toEqual([]);
  }, 900_000); // for what hangs: four guests at once on a busy machine take minutes
});
