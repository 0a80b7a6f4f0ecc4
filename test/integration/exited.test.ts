import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { SmartVM } from '../../ts/smartvm.js';
import type { PruneReport } from '../../ts/vmm/registry/prune.js';
import { sweep } from '../../ts/vmm/registry/prune.js';
import { type CliResult, cli } from '../support/cli.js';
import { killAtEveryChange, tapsOf } from '../support/kills.js';
import { until } from '../support/leftovers.js';
import { ManagerBench } from '../support/manager.js';
import { VMMS } from '../support/toy-vm.js';

/** For what hangs: on a machine that is busy, a kill takes seconds. */
const LIMIT = 1_800_000;
const NOTHING: PruneReport = { vms: [], others: [], unreadable: [] };

describe.skipIf(process.arch !== 'x64').each(VMMS)('a detached VM on $name that has ended by itself', (vmm) => {
  const { taps, networkInterfaces } = tapsOf(vmm);
  let bench: ManagerBench;
  let smartvm: SmartVM;

  beforeAll(async () => {
    bench = await ManagerBench.open(vmm);
    vi.stubEnv('SMARTVM_RUNTIME_DIR', bench.runtimeDir);
    smartvm = new SmartVM(bench.options);
  });

  afterEach(async () => {
    await smartvm.prune();
    expect(await bench.leftovers(taps)).toEqual([]);
  });

  afterAll(async () => {
    vi.unstubAllEnvs();
    await bench[Symbol.asyncDispose]();
  });

  const run = (...args: string[]): Promise<CliResult> => cli(bench.runtimeDir, ...args).end();
  const said = (stdout: string): CliResult => ({ exitCode: 0, stdout, stderr: '' });

  /** Its program is killed, and then what is said of it. */
  async function ended(id: string, victims: readonly ('keeper' | 'vmm')[] = ['vmm'], name?: string): Promise<string> {
    await using manager = bench.manager({
      configs: [bench.config(id, { networkInterfaces })],
      tags: { name },
      detached: true,
    });
    expect(await manager.word()).toMatchObject([{ id }]);
    await manager.kill();
    const path = join(bench.directoryOf(id), 'console.log');
    await until(async () => (await readFile(path, 'utf8')).includes('TOY GUEST UP'), 30_000, 'the guest');
    const processes = await bench.identitiesOf(id);
    for (const victim of victims) {
      process.kill(processes[victim].pid, 'SIGKILL');
    }
    await bench.ends(...victims.map((victim) => processes[victim]), processes.keeper);
    return await readFile(path, 'utf8');
  }

  test('stays to be read behind the starts of others, until rm, and holds nothing of the host', async () => {
    const [id, other] = [bench.id(1), bench.id(2)];
    const console = await ended(id, ['vmm'], 'job');
    expect(await readdir(join(bench.directoryOf(id), 'vmm'))).toEqual([]); // by its keeper
    {
      await using next = new SmartVM(bench.options);
      const vm = await next.createVM(bench.config(other), { name: 'job' });
      await vm.start();
      await vm.cleanup();
    }
    expect(await bench.leftovers(taps)).toEqual([id]);
    expect((await run('ps', '-a', '--format', '{{.Name}} {{.Status}}')).stdout).toMatch(
      /^job Exited \(137\) .* ago\n$/,
    );
    expect(await run('logs', 'job')).toEqual(said(console));
    expect(await run('wait', 'job')).toEqual(said('137\n'));
    expect(await run('inspect', '-f', '{{.State}} {{.Exit.Code}}', id)).toEqual(said('exited 137\n'));
    const archive = await run('debug', '-o', bench.scratch.file('debug.tar.gz'), 'job');
    expect([archive.exitCode, archive.stderr]).toEqual([0, '']);
    await expect(smartvm.attach(id)).rejects.toMatchObject({
      code: 'VM_NOT_FOUND',
      details: { exit: { signal: 'SIGKILL' } },
    });
    expect((await smartvm.attachAll()).failed).toMatchObject([{ id, error: { code: 'VM_NOT_FOUND' } }]);
    expect(await run('rm', 'job')).toEqual(said('job\n'));
    expect(await bench.leftovers(taps)).toEqual([]);
  });

  test('stays where its keeper was killed, which is told', async () => {
    const id = bench.id();
    const console = await ended(id, ['keeper']);
    expect((await sweep(bench.runtimeDir)).vms).toMatchObject([{ id, exited: false }]);
    expect(await bench.leftovers(taps)).toEqual([id]);
    expect(await run('inspect', '-f', '{{.Exit.Reason}} {{.Exit.Code}}', id)).toEqual(said('keeper-lost 137\n'));
    expect([await run('wait', id), await run('logs', id)]).toEqual([said('137\n'), said(console)]);
    const plan = await run('prune', '--dry-run');
    expect(plan.stdout.split('\n').slice(1, -1)).toEqual([expect.stringMatching(`^${id} +exited VM +/`)]);
    expect(await run('prune', '--filter', 'until=1h')).toEqual(said(''));
    expect((await run('prune', '--filter', 'until=yesterday')).exitCode).toBe(125);
    expect((await run('prune', '--format', 'json')).stdout).toContain('"exited": true');
    expect(existsSync(bench.directoryOf(id))).toBe(false);
  });

  test('gives way to the next of its id, of which nothing of it is', async () => {
    const id = bench.id();
    await ended(id);
    await sweep(bench.runtimeDir);
    const vm = await smartvm.createVM(bench.config(id));
    await vm.start();
    expect((await vm.getInfo()).state).toBe('Running');
    expect(existsSync(join(bench.directoryOf(id), 'exit.json'))).toBe(false);
    await vm.cleanup();
    expect(await bench.leftovers(taps)).toEqual([]);
  });

  test('is given back once by several programs at once', async () => {
    const ids = [bench.id(1), bench.id(2)];
    await using manager = bench.manager({ configs: ids.map((id) => bench.config(id)), detached: true });
    await manager.word();
    await manager.kill();
    for (const id of ids) {
      const { keeper } = await bench.identitiesOf(id);
      process.kill(keeper.pid, 'SIGKILL');
      await bench.ends(keeper);
    }
    const reports = await Promise.all([1, 2, 3].map(() => sweep(bench.runtimeDir)));
    expect(reports.flatMap(({ vms }) => vms.map(({ id, error }) => [id, error])).toSorted()).toEqual(
      ids.map((id) => [id, undefined]),
    );
    expect((await bench.leftovers(taps)).toSorted()).toEqual(ids);
    expect(await sweep(bench.runtimeDir)).toEqual(NOTHING);
  });
});

describe.skipIf(process.arch !== 'x64').each(VMMS)('a program that gives back what a VM on $name had', (vmm) => {
  test(
    'and is killed before any change that it makes loses nothing of what is read, and doubles nothing',
    async () => {
      const changes = await killAtEveryChange(
        vmm,
        async (bench, config) => {
          await using smartvm = new SmartVM(bench.options);
          const vm = await smartvm.createVM(config, { detached: true, name: 'job' });
          await vm.start();
          const { keeper } = await bench.identitiesOf(vm.id);
          await vm.release();
          process.kill(keeper.pid, 'SIGKILL'); // which leaves the most to do
          await bench.ends(keeper);
          return { sweeps: true, end: {} };
        },
        async (bench, id) => {
          await sweep(bench.runtimeDir);
          expect(await bench.leftovers(tapsOf(vmm).taps)).toEqual([id]);
          const names = await readdir(bench.directoryOf(id));
          expect(names).toEqual(expect.arrayContaining(['console.log', 'state.json', 'vm.json', 'vmm.log']));
          expect(names.filter((name) => /^(vmm|jail|jail\.json|guest\.json|keeper\.sock)$/.test(name))).toEqual([]);
        },
      );
      expect(changes).toBeGreaterThan(4);
    },
    LIMIT,
  );
});
