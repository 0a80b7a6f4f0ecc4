import { existsSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { SmartVM } from '../../ts/smartvm.js';
import { isAlive } from '../../ts/util/process-identity.js';
import { readRecord } from '../../ts/vmm/registry/record-file.js';
import { Smartvm } from '../support/cli.js';
import { until } from '../support/leftovers.js';
import { compileToyGuest } from '../support/toy-guest.js';
import { VMMS } from '../support/toy-vm.js';

describe.skipIf(process.arch !== 'x64').each(VMMS)('acting on VMs on $name', ({ path, jail }) => {
  let cli: Smartvm;
  let smartvm: SmartVM;

  beforeAll(async () => {
    cli = await Smartvm.open();
    vi.stubEnv('SMARTVM_RUNTIME_DIR', cli.runtimeDir);
    await compileToyGuest(cli.file('toy'));
    smartvm = new SmartVM({ firecrackerBinaryPath: path, ...(jail === undefined ? {} : { jail }) });
  });

  afterEach(async () => {
    expect(await cli.leftovers()).toEqual([]);
  });

  afterAll(async () => {
    vi.unstubAllEnvs();
    await cli[Symbol.asyncDispose]();
  });

  /** A VM that is nobody's. */
  async function orphan(id: string, name?: string): Promise<string> {
    const config = { id, bootSource: { kernelImagePath: cli.file('toy') }, machineConfig: { memSizeMib: 32 } };
    const vm = await smartvm.createVM(config, { detached: true, name });
    await vm.start();
    await vm.release();
    return join(cli.runtimeDir, id);
  }

  async function processesOf(directory: string) {
    const { processes } = await readRecord(directory);
    if (!processes?.vmm) {
      throw new Error(`${directory} has no VMM`);
    }
    return [processes.keeper, processes.vmm];
  }

  test('stop ends all that are named, at once and each once, tells of each in order, and 1 is for one that is none', async () => {
    await Promise.all([orphan('a-1', 'one'), orphan('a-2'), orphan('b-1')]);
    const result = await cli.run(['stop', '-t', '0.3', 'one', 'nosuch', 'a', 'a-1', 'b', 'a-2']);
    expect(result.stdout).toBe('one\na-1\nb\na-2\n');
    expect(result.stderr.split('\n')).toEqual([
      expect.stringContaining('"nosuch"'),
      expect.stringMatching(/2 VMs .* a-1, a-2.*\[VM_AMBIGUOUS\]/),
      '',
    ]);
    expect(result.exitCode).toBe(1);
  });

  test('stop, told to hurry, goes to the last way of ending it, and leaves nothing', async () => {
    const directory = await orphan('a-1');
    let events = '';
    get({ socketPath: join(directory, 'keeper.sock'), path: '/events' }, (response) => {
      response
        .on('error', () => undefined)
        .on('data', (chunk: Buffer) => {
          events += chunk;
        });
    });
    const stop = cli.spawn('stop', '-t', '600', 'a-1');
    await until(() => events.includes('"stop"'), 60_000, 'the stop');
    stop.child.kill('SIGINT');
    stop.child.kill('SIGINT');
    expect(await stop.exitCode()).toBe(130);
  });

  test('pause and resume, each of them once', async () => {
    await orphan('a-1');
    expect(await cli.run(['pause', 'a'])).toMatchObject({ stdout: 'a\n', exitCode: 0 });
    const again = await cli.run(['pause', 'a']);
    expect(again).toMatchObject({
      stdout: '',
      stderr: expect.stringContaining('it is paused [INVALID_STATE]'),
      exitCode: 1,
    });
    expect(await cli.run(['unpause', 'a'])).toMatchObject({ stdout: 'a\n', exitCode: 0 });
    expect(await cli.run(['resume', 'a'])).toMatchObject({ stdout: '', exitCode: 1 });
    expect(await cli.run(['exec', 'a', 'true'])).toMatchObject({
      stderr: expect.stringContaining('[AGENT_MISSING]'),
      exitCode: 125,
    });
    expect(await cli.run(['kill', 'a'])).toMatchObject({ stdout: 'a\n', exitCode: 0 });
  });

  test('rm leaves one that lives alone, and with -f ends it', async () => {
    const directory = await orphan('a-1');
    const refused = await cli.run(['rm', 'a-1']);
    expect(refused).toMatchObject({ stdout: '', stderr: expect.stringContaining('[INVALID_STATE]'), exitCode: 1 });
    expect(existsSync(directory)).toBe(true);
    expect(await cli.run(['rm', '-f', 'a-1'])).toEqual({ stdout: 'a-1\n', stderr: '', exitCode: 0 });
  });

  test('prune says what it would remove, then does, and of nothing it says nothing', async () => {
    const directory = await orphan('a-1', 'web');
    const processes = await processesOf(directory);
    for (const { pid } of processes) {
      process.kill(pid, 'SIGKILL');
    }
    await until(async () => !(await Promise.all(processes.map(isAlive))).includes(true), 30_000, 'their end');
    const plan = await cli.run(['prune', '--dry-run']);
    expect(plan.stdout).toMatch(/^VM +KIND +NAME\n/);
    expect(plan.stdout).toMatch(/^a-1 +lease +name web$/m);
    expect(plan.stdout).toContain(directory);
    expect(existsSync(directory)).toBe(true);
    const done = await cli.run(['prune', '-f', '--format', 'json']);
    expect(JSON.parse(done.stdout)).toMatchObject({
      dryRun: false,
      vms: [{ id: 'a-1', things: expect.arrayContaining([{ kind: 'directory', name: directory }]) }],
      unreadable: [],
    });
    expect(await cli.run(['prune'])).toEqual({ stdout: '', stderr: '', exitCode: 0 });
  });
});
