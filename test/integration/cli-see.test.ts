import { mkdirSync, writeFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { SmartVM } from '../../ts/smartvm.js';
import { currentProcess } from '../../ts/util/process-identity.js';
import { renderRecord } from '../../ts/vmm/registry/record.js';
import type { ManagerWord } from '../fixtures/manager.js';
import { type Cli, type CliResult, cli, cliOnTerminal } from '../support/cli.js';
import { until } from '../support/leftovers.js';
import { ManagerBench, type Program } from '../support/manager.js';
import { sampleRecord } from '../support/record.js';
import { scratchDirectory } from '../support/scratch.js';
import { VMMS } from '../support/toy-vm.js';

interface Event {
  event: string;
  id: string;
  exitCode: number | null;
  reason: string | null;
}

/** Waits until a program watches a directory. */
async function watches({ child }: Cli): Promise<void> {
  const descriptors = `/proc/${child.pid}/fdinfo`;
  const has = async (fd: string) =>
    (await readFile(join(descriptors, fd), 'utf8').catch(() => '')).includes('inotify wd:');
  await until(async () => (await Promise.all((await readdir(descriptors)).map(has))).includes(true), 60_000, 'a watch');
}

describe.skipIf(process.arch !== 'x64').each(VMMS)('VMs of other programs on $name', ({ name, path, jail = false }) => {
  let bench: ManagerBench;
  let smartvm: SmartVM;

  beforeAll(async () => {
    bench = await ManagerBench.open({ name, path, jail });
    vi.stubEnv('SMARTVM_RUNTIME_DIR', bench.runtimeDir);
    smartvm = new SmartVM(bench.options);
  });
  afterEach(async () => {
    const { vms } = await smartvm.attachAll();
    await Promise.all(vms.map((vm) => vm.cleanup()));
    await smartvm.prune();
    // Who held the lock in which things are undone may be about to end.
    await until(async () => (await bench.leftovers()).length === 0, 30_000, 'the end of all').catch(() => undefined);
    expect(await bench.leftovers()).toEqual([]);
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await bench[Symbol.asyncDispose]();
  });

  const run = (...args: string[]): Promise<CliResult> => cli(bench.runtimeDir, ...args).end();
  const json = (text: string) =>
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));

  /** A program that has made a VM. */
  async function program(id: string, part: { name?: string; detached?: boolean } = {}): Promise<Program<ManagerWord>> {
    const tags = { name: part.name, labels: { of: id }, image: 'toy' };
    const manager = bench.manager({ configs: [bench.config(id)], tags, detached: part.detached ?? false });
    expect(await manager.word()).toMatchObject([{ id }]);
    return manager;
  }

  test('are listed, found and inspected', async () => {
    const [first, second] = [bench.id(1), bench.id(2)];
    await using _one = await program(first, { name: 'web' });
    await using _two = await program(second, { name: 'db', detached: true });
    const list = await run('ps');
    expect([list.exitCode, list.stderr]).toEqual([0, '']);
    const lines = list.stdout.trim().split('\n');
    expect(lines[0]).toMatch(/^VM ID +IMAGE +CPUS +MEMORY +CREATED +STATUS +PORTS +NAME$/);
    expect(lines.slice(1).toSorted()).toEqual([
      expect.stringMatching(new RegExp(`^${first} +toy +1 +32 MiB +.* ago +Up .* web$`)),
      expect.stringMatching(new RegExp(`^${second} +toy +1 +32 MiB +.* ago +Up .* db$`)),
    ]);
    expect((await run('ps', '-q', '--filter', 'name=d')).stdout).toBe(`${second}\n`);
    expect((await run('ps', '--format', '{{.ID}} {{.State}}', '--filter', `label=of=${first}`)).stdout).toBe(
      `${first} running\n`,
    );

    const inspected = JSON.parse((await run('inspect', 'web', second)).stdout);
    expect(inspected).toMatchObject([
      { id: first, name: 'web', state: 'running', config: { machineConfig: { memSizeMib: 32 } } },
      { id: second, name: 'db', detached: true },
    ]);
    expect((await run('inspect', '-f', '{{.Paths.RuntimeDir}}', 'db')).stdout).toBe(`${bench.directoryOf(second)}\n`);

    const some = await run('inspect', '--format', '{{.Name}}', 'nothing', 'db', first.slice(0, -1));
    expect([some.exitCode, some.stdout]).toEqual([1, 'db\n']);
    expect(some.stderr).toMatch(
      /no VM "nothing".*\[VM_NOT_FOUND\]\n.*2 VMs have ids that begin with.*\[VM_AMBIGUOUS\]\n$/,
    );
  });

  test('tell what happens to them, and with what exit code they end', async () => {
    const id = bench.id();
    await using events = cli(
      bench.runtimeDir,
      'events',
      '--format',
      'json',
      '--filter',
      'event=create',
      '--filter',
      'event=die',
    );
    await using all = cli(bench.runtimeDir, 'events');
    await Promise.all([events, all].map(watches));
    await using _manager = await program(id, { name: 'web', detached: true });
    await all.says(' start ');
    const vm = await smartvm.attach(id);
    await vm.pause();
    expect((await run('ps', '--format', '{{.State}} {{.Status}}')).stdout).toMatch(/^paused Up .* \(Paused\)\n$/);
    await vm.resume();
    await using wait = cli(bench.runtimeDir, 'wait', 'nothing', 'web');
    await wait.says('VM_NOT_FOUND'); // it has asked for both
    await vm.writeConsole('q');
    expect(await wait.end()).toMatchObject({ exitCode: 1, stdout: '0\n' });
    expect(await run('rm', 'web')).toEqual({ exitCode: 0, stdout: 'web\n', stderr: '' });
    await all.says(' remove ');
    all.child.kill('SIGTERM');
    const { exitCode, stdout } = await all.end();
    expect(exitCode).toBe(143);
    expect(stdout.split('\n').map((line) => line.split(' ')[1])).toEqual(
      expect.arrayContaining(['create', 'start', 'pause', 'resume', 'die', 'remove']),
    );
    const order = ['create', 'start', 'pause', 'resume', 'die', 'remove'].map((word) =>
      stdout.indexOf(` ${word} ${id} `),
    );
    expect(order).toEqual(order.toSorted((a, b) => a - b));
    events.child.kill('SIGINT');
    const filtered = json((await events.end()).stdout) as Event[];
    expect(filtered.map(({ event, id: of, exitCode: code }) => [event, of, code])).toEqual([
      ['create', id, null],
      ['die', id, 0],
    ]);
  });

  test('have a console that can be followed to its end, or until Ctrl-C', async () => {
    const id = bench.id();
    await using _manager = await program(id, { detached: true });
    const vm = await smartvm.attach(id);
    await using follower = cli(bench.runtimeDir, 'logs', '-f', id);
    await follower.says('TOY GUEST UP');
    await using tail = cli(bench.runtimeDir, 'logs', '-f', '-n', '0', id);
    await using interrupted = cli(bench.runtimeDir, 'logs', '-f', id);
    await interrupted.says('TOY GUEST UP');
    for (let pongs = 1; !tail.stdout.includes('PONG'); pongs++) {
      await vm.writeConsole('p');
      await follower.says('PONG', pongs);
    }
    interrupted.child.kill('SIGINT');
    expect((await interrupted.end()).exitCode).toBe(130);
    const kept = (await run('logs', id)).stdout;
    expect((await run('logs', '--tail', '1', id)).stdout).toBe(kept.slice(kept.lastIndexOf('PONG')));
    await vm.cleanup();
    expect(await follower.end()).toEqual({ exitCode: 0, stdout: kept, stderr: '' });
    const ended = await tail.end();
    expect([ended.exitCode, ended.stdout.includes('TOY GUEST UP')]).toEqual([0, false]);
  });

  test('show what they take of the host', async () => {
    const id = bench.id();
    await using _manager = await program(id, { name: 'web' });
    const [row] = json((await run('stats', '--no-stream', '--format', 'json', 'web')).stdout);
    expect(row).toMatchObject({ id, name: 'web', state: 'running', cpus: 1 });
    expect(row.cpuPercent).toBeGreaterThanOrEqual(0);
    expect(row.memoryBytes).toBeGreaterThan(1024 * 1024);
    expect(row.memoryLimitBytes).toBeGreaterThanOrEqual(32 * 1024 * 1024);
    expect(row.tasks).toBeGreaterThan(0);
    await using stream = cli(bench.runtimeDir, 'stats');
    await stream.says(id, 2);
    stream.child.stdout.destroy(); // as head(1) does
    expect((await stream.end()).exitCode).toBe(141);
    expect(stream.stdout.split('VM ID').length).toBe(2);
  });

  test('that have ended leave how they did, and their console', async () => {
    const id = bench.id();
    {
      await using _manager = await program(id, { detached: true });
    }
    const { keeper, vmm } = await bench.identitiesOf(id);
    const console = (await run('logs', id)).stdout;
    process.kill(vmm.pid, 'SIGKILL');
    await bench.ends(keeper, vmm);
    expect((await run('ps', '-q')).stdout).toBe('');
    expect((await run('ps', '-a', '--format', '{{.ID}} {{.Status}}')).stdout).toMatch(
      new RegExp(`^${id} Exited \\(137\\) .* ago\\n$`),
    );
    expect((await run('ps', '-q', '--filter', 'status=exited')).stdout).toBe(`${id}\n`);
    expect(await run('wait', id)).toEqual({ exitCode: 0, stdout: '137\n', stderr: '' });
    expect(await run('logs', '-f', id)).toEqual({ exitCode: 0, stdout: console, stderr: '' });
  });
});

describe('what a guest has written', () => {
  const EVIL = 'ok\r\n\u001b[2J\u001b]0;owned\u0007\rlast';

  test('reaches a pipe as it is, and a terminal spelt out', async () => {
    await using scratch = await scratchDirectory();
    mkdirSync(scratch.file('vm-1'));
    const dead = { ...currentProcess(), startTime: '1' };
    const labels = { evil: '\u001b[31m' };
    writeFileSync(scratch.file('vm-1', 'vm.json'), renderRecord(await sampleRecord({ owner: dead, labels })));
    writeFileSync(scratch.file('vm-1', 'console.log'), EVIL);
    expect((await cli(scratch.path, 'logs', 'vm-1').end()).stdout).toBe(EVIL);
    expect((await cliOnTerminal(scratch.path, 'logs', 'vm-1').end()).stdout).toBe(
      'ok\r\n\\x1b[2J\\x1b]0;owned\\x07\\x0dlast',
    );
    const template = ['ps', '-a', '--format', '{{.Labels.Evil}}'];
    expect((await cli(scratch.path, ...template).end()).stdout).toBe('\u001b[31m\n');
    const [word = '', ...rest] = template;
    const quoted = rest.map((text) => `'${text}'`);
    expect((await cliOnTerminal(scratch.path, word, ...quoted).end()).stdout).toBe('\\x1b[31m\r\n');
  });

  test('a terminal gets colours, and a pipe none', async () => {
    await using scratch = await scratchDirectory();
    expect((await cli(scratch.path, 'ps').end()).stdout).not.toContain('\u001b');
    expect((await cliOnTerminal(scratch.path, 'ps').end()).stdout).toContain('\u001b[1mVM ID');
  });
});
