import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { main } from '../../ts/cli/main.js';
import { writeGuestAccess } from '../../ts/guest/access.js';
import { delay } from '../../ts/util/deadline.js';
import { endProcess } from '../../ts/util/end-process.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import type { ProcessIdentity } from '../../ts/util/process-identity.js';
import { run } from '../../ts/util/run.js';
import type { KeptTimings } from '../../ts/vm/step-log.js';
import { readRecord } from '../../ts/vmm/registry/record-file.js';
import { until } from '../support/leftovers.js';
import { Secrets } from '../support/secrets.js';
import { rejectionOf, ToyBench, VMMS } from '../support/toy-vm.js';

const TAP = `svmdbg${process.pid}`.slice(0, 15);
const ALWAYS = ['report.json', 'files.txt', 'doctor.json', 'host.json', 'versions.json', 'processes.json'];
const RUNNING = [...ALWAYS, 'vm.json', 'console.log', 'vmm.log', 'timings.json', 'keeper.json', 'api/instance.json'];

let said: string;

beforeEach(() => {
  said = '';
  const hear = (chunk: unknown, taken?: unknown) => {
    said += String(chunk);
    (taken as (() => void) | undefined)?.();
    return true;
  };
  vi.spyOn(process.stdout, 'write').mockImplementation(hear);
  vi.spyOn(console, 'error').mockImplementation((line) => void hear(`${line}\n`));
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

interface Report {
  readonly id: string;
  readonly status?: string;
  readonly recordProblem?: string;
  readonly files: readonly { name: string; bytes?: number; absent?: string; failed?: string; durationMs: number }[];
}

/** What an archive has in it, on disk. */
class Unpacked {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async of(bench: ToyBench, archive: string, id: string): Promise<Unpacked> {
    const target = `${archive}.unpacked`;
    await mkdir(target);
    await run('tar', ['--extract', '--gzip', '--file', archive, '--directory', target]);
    expect(await readdir(target)).toEqual([`smartvm-debug-${id}`]);
    expect(archive.startsWith(bench.scratch.path)).toBe(true);
    return new Unpacked(join(target, `smartvm-debug-${id}`));
  }

  async names(): Promise<string[]> {
    const entries = await readdir(this.folder, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name).slice(this.folder.length + 1));
  }

  async text(name: string): Promise<string> {
    return await readFile(join(this.folder, name), 'utf8');
  }

  async json<T>(name: string): Promise<T> {
    return JSON.parse(await this.text(name)) as T;
  }

  async failed(): Promise<string[]> {
    const { files } = await this.json<Report>('report.json');
    return files.filter(({ failed }) => failed !== undefined).map(({ name }) => name);
  }
}

let archives = 0;

/** Runs `smartvm debug` on a VM of a bench, and unpacks what it has written. */
async function debug(bench: ToyBench, reference: string, id = reference): Promise<Unpacked> {
  vi.stubEnv('SMARTVM_RUNTIME_DIR', bench.runtimeDir);
  const archive = bench.scratch.file(`${archives++}.tar.gz`);
  expect(await main(['debug', reference, '--output', archive])).toBe(0);
  expect((await stat(archive)).mode & 0o7777).toBe(0o600);
  expect(said).toContain(`${archive}\n`);
  return await Unpacked.of(bench, archive, id);
}

describe.skipIf(process.arch !== 'x64').each(VMMS)('smartvm debug, of VMs of $name,', (vmm) => {
  test('has all of one that runs, and of one that is paused', async () => {
    await using bench = await ToyBench.open(vmm);
    const { vm } = await bench.boot({}, { name: 'web' });
    const kept = async () => await readFile(join(bench.runtimeDir, vm.id, 'timings.json'), 'utf8').catch(() => '');
    await until(async () => (await kept()).includes('"running": []'), 30_000, 'all timings'); // written beside
    for (const state of ['Running', 'Paused']) {
      const found = await debug(bench, state === 'Running' ? 'web' : vm.id.slice(0, -2), vm.id);
      expect(await found.names()).toEqual(expect.arrayContaining(RUNNING));
      expect(await found.failed()).toEqual([]);
      expect(await found.text('console.log')).toContain('TOY GUEST UP');
      expect(await found.json('api/instance.json')).toMatchObject({ id: vm.id, state });
      expect(await found.json('vm.json')).toMatchObject({ id: vm.id, name: 'web', journal: {} });
      expect(await found.json('keeper.json')).toMatchObject({ vmmPid: vm.pid });
      expect(await found.json('processes.json')).toMatchObject({ vmm: { pid: vm.pid, status: expect.any(String) } });
      const timings = await found.json<KeptTimings>('timings.json');
      expect(timings).toMatchObject({ steps: JSON.parse(JSON.stringify(vm.timings)), running: [] });
      await (state === 'Running' ? vm.pause() : vm.resume());
    }
  });

  test('waits for no VMM that hangs', async () => {
    await using bench = await ToyBench.open(vmm);
    const { vm } = await bench.boot();
    process.kill(vm.pid, 'SIGSTOP');
    const found = await debug(bench, vm.id);
    expect(await found.failed()).toEqual(['api/instance.json', 'api/version.json', 'api/config.json']);
    const { vmm: stopped } = await found.json<{ vmm: { status: string } }>('processes.json');
    expect(stopped.status).toMatch(/^State:\s+T/m);
    expect(said).toContain('smartvm: not in the archive: api/instance.json: ');
    process.kill(vm.pid, 'SIGCONT');
  });

  test('says what a start waits for', async () => {
    await using bench = await ToyBench.open(vmm);
    const stop = new AbortController();
    const prepare = async (_folder: string, signal: AbortSignal) => {
      await delay(60_000, signal);
      throw new Error('canceled');
    };
    const { vm } = await bench.create({}, { prepare });
    const starting = rejectionOf(vm.start({ signal: stop.signal }));
    const kept = join(bench.runtimeDir, vm.id, 'timings.json');
    await until(
      () =>
        stat(kept).then(
          () => true,
          () => false,
        ),
      30_000,
      'timings of the start',
    );
    const found = await debug(bench, vm.id);
    const { steps, running } = await found.json<KeptTimings>('timings.json');
    expect(steps.map(({ step }) => step).slice(0, 4)).toEqual([
      'capacity',
      'addresses',
      'launcher',
      'runtime-directory',
    ]);
    expect(running.map(({ step }) => step)).toContain('files');
    expect(await found.json('report.json')).toMatchObject({ status: 'created' });
    stop.abort();
    expect(await starting).toMatchObject({ code: 'CANCELED' });
    expect(await bench.leftovers()).toEqual([]);
  });

  test('has what is left of one that is dead', async () => {
    await using bench = await ToyBench.open(vmm);
    const { vm } = await bench.boot({}, { detached: true });
    const { pid } = vm;
    await vm.release();
    const { keeper, vmm: started } = (await readRecord(join(bench.runtimeDir, vm.id), vm.id)).processes ?? {};
    for (const identity of [keeper, started] as ProcessIdentity[]) {
      expect(await endProcess(identity, 10_000)).toBe(true);
    }
    const found = await debug(bench, vm.id);
    expect(await found.names()).toEqual(expect.arrayContaining([...ALWAYS, 'vm.json', 'console.log', 'timings.json']));
    expect(await found.json('processes.json')).toMatchObject({ vmm: { pid, ended: true } });
    expect(await found.json('report.json')).toMatchObject({ id: vm.id, status: 'exited' });
    expect((await bench.smartvm.prune()).vms.map(({ id }) => id)).toEqual([vm.id]);
  });

  test.skipIf(process.getuid?.() !== 0)('has no secret of any', async () => {
    const secrets = new Secrets();
    await using bench = await ToyBench.open(vmm);
    vi.stubEnv('SMARTVM_TEST_TOKEN', secrets.make('environment'));
    const args = `console=ttyS0 token=${secrets.make('argument')} nfs=http://u:${secrets.make('password')}@host/`;
    const toy = await bench.boot(
      {
        bootSource: { kernelImagePath: bench.kernelImagePath, bootArgs: args },
        networkInterfaces: [{ ifaceId: 'eth0', hostDevName: TAP }],
        mmds: { networkInterfaces: ['eth0'], contents: { token: secrets.make('contents'), a: secrets.make('data') } },
        logger: { level: 'Trace', showLevel: true },
      },
      { labels: { 'deploy-token': secrets.make('label') } },
    );
    const { vm } = toy;
    const folder = join(bench.runtimeDir, vm.id);
    const pem = (name: string) => `-----BEGIN PRIVATE KEY-----\n${secrets.make(name)}\n-----END PRIVATE KEY-----`;
    const keys = { clientKey: pem('key'), hostPublicKey: 'public', hostKey: '', clientPublicKey: '', seed: '' };
    await writeGuestAccess(folder, { udsPath: '/none', keys });
    const printed = [
      `Command line: ${args}`,
      `it said ${secrets.get('argument')}, and ${secrets.get('key')}`,
      pem('printed key'),
      `Authorization: Bearer ${secrets.make('bearer')}`,
      `https://host/?sig=${secrets.make('query')}`,
    ].join('\n');
    await appendFile(join(folder, 'console.log'), printed);
    await appendFile(join(folder, 'vmm.log'), printed);
    await writeFile(join(folder, 'exit.json'), JSON.stringify({ env: { A: secrets.make('variable') } }));
    await symlink('/etc/hostname', join(folder, 'jail.json.new'));
    expect(await secrets.inFiles(bench.runtimeDir)).not.toEqual([]);

    const found = await debug(bench, vm.id);
    expect(await found.names()).toEqual(expect.arrayContaining([...RUNNING, 'exit.json', 'api/config.json']));
    expect(await found.text('console.log')).toContain('Command line: console=ttyS0 token=*** nfs=http://***@host/');
    expect(await found.text('api/config.json')).toContain('token=***');
    expect(await secrets.inFiles(found.folder)).toEqual([]);
    expect(secrets.in(said)).toEqual([]);
  });

  test.each([
    ['corrupt', (secret: string) => `{"version":1,"id":"${secret}`],
    ['newer', (secret: string) => JSON.stringify({ version: 999, config: { token: secret }, other: 'shown' })],
    ['corrupt', (secret: string) => JSON.stringify({ version: 1, mmds: { contents: secret }, other: 'shown' })],
  ])('tells of a record that is %s', async (problem, content) => {
    const secrets = new Secrets();
    await using bench = await ToyBench.open(vmm);
    await mkdir(join(bench.runtimeDir, 'broken'), { mode: 0o700 });
    const record = content(secrets.make('record'));
    await writeFile(join(bench.runtimeDir, 'broken', 'vm.json'), record);
    const found = await debug(bench, 'brok', 'broken');
    expect(await found.json('report.json')).toMatchObject({ id: 'broken', recordProblem: problem });
    const isJson = record.endsWith('}');
    expect((await found.failed()).includes('vm.json')).toBe(!isJson);
    if (isJson) {
      expect(await found.json('vm.json')).toMatchObject({ other: 'shown' });
    }
    expect(await secrets.inFiles(found.folder)).toEqual([]);
    expect(secrets.in(said)).toEqual([]);
  });

  test('replaces no file unless it is told to, and writes through no link', async () => {
    await using bench = await ToyBench.open(vmm);
    vi.stubEnv('SMARTVM_RUNTIME_DIR', bench.runtimeDir);
    await mkdir(join(bench.runtimeDir, 'broken'), { mode: 0o700 });
    const [output, target] = [bench.scratch.file('a.tar.gz'), bench.scratch.file('target')];
    await writeFile(target, 'mine');
    await symlink(target, output);
    expect(await main(['debug', 'broken', '--output', output])).toBe(125);
    expect(said).toMatch(/it exists.*--force.*\[FILE_WRITE_FAILED\]/);
    expect(await main(['debug', 'broken', '--output', output, '--force'])).toBe(0);
    expect(await readFile(target, 'utf8')).toBe('mine');
    expect((await stat(output)).mode & 0o7777).toBe(0o600);
    expect(await main(['debug', 'nobody', '--output', output])).toBe(125);
    expect(said).toContain('[VM_NOT_FOUND]');
  });

  test('writes to a pipe', async () => {
    await using bench = await ToyBench.open(vmm);
    await mkdir(join(bench.runtimeDir, 'broken'), { mode: 0o700 });
    const child = spawn(join(PACKAGE_ROOT, 'bin/smartvm'), ['debug', 'broken', '--output', '-'], {
      env: { ...process.env, SMARTVM_RUNTIME_DIR: bench.runtimeDir },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [archive, errors, [code]] = await Promise.all([
      buffer(child.stdout),
      text(child.stderr),
      once(child, 'exit'),
    ]);
    expect([code, errors]).toEqual([0, '']);
    const path = bench.scratch.file('piped.tar.gz');
    await writeFile(path, archive);
    expect(await (await Unpacked.of(bench, path, 'broken')).names()).toEqual(expect.arrayContaining(ALWAYS));
  });
});
