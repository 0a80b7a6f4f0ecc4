import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { currentProcess } from '../../ts/util/process-identity.js';
import { HostCapacity } from '../../ts/vmm/capacity/host-capacity.js';
import { Smartvm } from '../support/cli.js';
import { processesNaming, until } from '../support/leftovers.js';

describe('smartvm run', () => {
  it('prints what the command prints, ends with its exit code and leaves nothing', async () => {
    await using smartvm = await Smartvm.open();
    const result = await smartvm.run(['run', '--', 'sh', '-c', 'uname -s; echo oops >&2; exit 7']);
    expect(result).toEqual({ stdout: 'Linux\n', stderr: 'oops\n', exitCode: 7 });
    expect(await smartvm.leftovers()).toEqual([]);
  });

  it('gives the guest the CPUs and the memory that were asked for', async () => {
    await using smartvm = await Smartvm.open();
    const script = 'nproc; grep MemTotal /proc/meminfo';
    const { stdout } = await smartvm.run(['run', '--cpus', '2', '--memory', '512', '--', 'sh', '-c', script]);
    expect(stdout).toMatch(/^2\nMemTotal: +(?:4[5-9]|5[01])\d{4} kB\n$/);
  });

  it('passes standard input on when asked to', async () => {
    await using smartvm = await Smartvm.open();
    const { stdout } = await smartvm.run(['run', '-i', '--', 'wc', '-c'], 'x'.repeat(100_000));
    expect(stdout).toBe('100000\n');
  });

  it('gives the command its variables, directory and user, and the guest a name', async () => {
    await using smartvm = await Smartvm.open();
    await writeFile(smartvm.file('env'), '# both\nA=file\nB=file\n');
    const options = [
      '--env-file',
      smartvm.file('env'),
      '-e',
      'B=own',
      '-w',
      '/etc',
      '-u',
      'nobody',
      '--hostname',
      'h1',
    ];
    const script = 'echo $A $B; pwd; id -un; hostname';
    const { stdout } = await smartvm.run(['run', ...options, '--', 'sh', '-c', script]);
    expect(stdout).toBe('file own\n/etc\nnobody\nh1\n');
  });

  it.each([
    ['the end of the time of its VM', 'sleep 1000', 124, '(--ttl) was up'],
    ['its own signal', 'kill -TERM $$', 143, ''],
  ])('ends a command by %s, and says so', async (_what, script, exitCode, words) => {
    await using smartvm = await Smartvm.open();
    const ttl = exitCode === 124 ? '1' : '1000';
    const result = await smartvm.run(['run', '--ttl', ttl, '--', 'sh', '-c', script]);
    expect(result).toEqual({ stdout: '', stderr: words && expect.stringContaining(words), exitCode });
    expect(await smartvm.leftovers()).toEqual([]);
  });

  it('ends a command at its timeout with exit code 124', async () => {
    await using smartvm = await Smartvm.open();
    const { exitCode } = await smartvm.run(['run', '--timeout', '0.5', '--', 'sleep', '1000']);
    expect(exitCode).toBe(124);
    expect(await smartvm.leftovers()).toEqual([]);
  });

  it.each([
    [['run', '--image', 'windows', '--', 'true'], 'IMAGE_UNKNOWN'],
    [['run', '--memory', '99999999', '--', 'true'], 'MEMORY_EXCEEDED'],
    [['run', '--cpus', '0', '--', 'true'], 'whole number'],
    [['run', '--hostname', 'x'.repeat(65), '--', 'true'], 'VM.hostname must be'],
    [['run', '--disk-size', '15', '--', 'true'], 'whole number of at least 16'],
    [['run', '--layer', 'tape', '--', 'true'], 'Allowed choices are auto, overlay, reflink, copy'],
    [['run', '--layer', 'copy', '--', 'true'], 'LAYER_UNSUPPORTED'],
    [['run', '--keep', '../x', '--', 'true'], 'layerName must be'],
    [['run', '--keep', 'none-is-called-so'], 'has no command of its own'],
    [['run'], 'missing required argument'],
  ])('says what is wrong with %j, with exit code 125', async (args, message) => {
    await using smartvm = await Smartvm.open();
    const { exitCode, stderr } = await smartvm.run(args);
    expect(exitCode).toBe(125);
    expect(stderr).toContain(message);
    expect(await smartvm.leftovers()).toEqual([]);
  });

  it('keeps what a VM writes, until its end by itself, for the next one, in the size that is asked for', async () => {
    await using smartvm = await Smartvm.open();
    const name = basename(dirname(smartvm.runtimeDir));
    const layers = async () => (await smartvm.run(['layer', 'ls', '--format', '{{.Name}} {{.SizeBytes}}'])).stdout;
    try {
      const detached = ['run', '-d', '--rm', '--keep', name, '--disk-size', '64', '--layer', 'overlay'];
      const { stdout: id } = await smartvm.run([...detached, '--', 'sh', '-c', 'echo one > /root/file']);
      expect((await smartvm.run(['wait', id.trim()])).exitCode).toBe(0);
      expect(await layers()).toContain(`${name} ${64 << 20}\n`);
      const script = 'cat /root/file; df --output=size -m / | tail -1';
      const { stdout, stderr } = await smartvm.run([
        ...['run', '--keep', name, '--disk-size', '512'],
        ...['--', 'sh', '-c', script],
      ]);
      expect(stdout).toMatch(/^one\n *4\d\d\n$/);
      expect(stderr).toBe('');
      expect(await smartvm.leftovers()).toEqual([]);
    } finally {
      await smartvm.run(['layer', 'rm', name]);
    }
    expect(await layers()).not.toContain(name);
  });

  it('waits in line for room on the host, for as long as it was told to', async () => {
    await using smartvm = await Smartvm.open();
    const capacity = new HostCapacity({ runtimeRoot: smartvm.runtimeDir });
    const owner = currentProcess();
    const all = { memoryMib: capacity.limits.memoryMib, vcpus: 1 };
    const release = await capacity.reserve(all, { id: 'all', runtimeDir: '/nonexistent', owner }, { queueMs: 0 });
    const refused = await smartvm.run(['run', '--queue', '0.3', '--', 'true']);
    expect(refused).toMatchObject({
      exitCode: 125,
      stderr: expect.stringMatching(/ \d{3,4} ms in line.*CAPACITY_EXCEEDED/),
    });
    const waiting = smartvm.run(['run', '--queue', '600', '--', 'echo', 'in']);
    const directory = join(smartvm.runtimeDir, '.leases/capacity');
    const inLine = async () => (await readdir(directory)).some((name) => name.endsWith('~waiting'));
    await until(inLine, 60_000, 'a place in line');
    await release();
    expect(await waiting).toEqual({ stdout: 'in\n', stderr: '', exitCode: 0 });
    expect(await smartvm.leftovers()).toEqual([]);
  });

  // Moments of a run, by what exists at each: nothing, the runtime directory, the VMM's API, the guest's command.
  it.each(['nothing', 'directory', 'api', 'command'] as const)(
    'Ctrl-C when there is %s leaves nothing',
    async (moment) => {
      await using smartvm = await Smartvm.open();
      const run = smartvm.spawn('run', '--', 'sh', '-c', 'echo ready; sleep 1000');
      const reached = {
        nothing: async () => run.child.pid !== undefined,
        directory: async () => (await smartvm.vms()).length > 0,
        api: async () =>
          (await readdir(smartvm.runtimeDir, { recursive: true })).some((name) => name.endsWith('api.sock')),
        command: async () => run.stdout.includes('ready'),
      };
      await until(reached[moment], 60_000, moment);
      run.child.kill('SIGINT');
      run.child.kill('SIGINT');
      // Before our handler is there, the signal's own effect is as good.
      expect(moment === 'nothing' ? [130, 'SIGINT'] : [130]).toContain(await run.exitCode());
      expect(await smartvm.leftovers()).toEqual([]);
    },
  );

  it.runIf(process.getuid?.() === 0)('jails the VMM, and does not with --no-jail', async () => {
    await using smartvm = await Smartvm.open();
    for (const [args, jailed] of [
      [[], true],
      [['--no-jail'], false],
    ] as const) {
      const run = smartvm.spawn('run', ...args, '-i', '--', 'sh', '-c', 'echo ready; cat');
      await run.says('ready');
      const files = await readdir(smartvm.runtimeDir, { recursive: true });
      expect(files.some((name) => name.endsWith('/jail.json'))).toBe(jailed);
      run.child.stdin.end();
      expect(await run.exitCode()).toBe(0);
    }
    expect(await smartvm.leftovers()).toEqual([]);
  });

  it('ends when the reader of its output has gone', async () => {
    await using smartvm = await Smartvm.open();
    const run = smartvm.spawn('run', '--', 'yes');
    await once(run.child.stdout, 'data');
    run.child.stdout.destroy();
    expect(await run.exitCode()).toBe(141);
    expect(await smartvm.leftovers()).toEqual([]);
  });

  it('killed with -9 takes its VM with it', async () => {
    await using smartvm = await Smartvm.open();
    const run = smartvm.spawn('run', '--', 'sh', '-c', 'echo ready; sleep 1000');
    await run.says('ready');
    run.child.kill('SIGKILL');
    const remains = async () => [...(await smartvm.vms()), ...(await processesNaming(smartvm.runtimeDir))];
    await until(async () => (await remains()).length === 0, 30_000, 'the end of the VM');
    expect(await smartvm.leftovers()).toHaveLength(1); // nobody has needed it
  });
});
