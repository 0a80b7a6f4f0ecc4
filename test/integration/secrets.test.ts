import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openBench } from '../support/debian-vm.js';
import { processesNaming, until } from '../support/leftovers.js';
import { filesWith, ProcessWatch, Secrets } from '../support/secrets.js';
import { rejectionOf, ToyBench, VMMS } from '../support/toy-vm.js';

const TAP = `svmsec${process.pid}`.slice(0, 15);

let secrets: Secrets;
let warnings: Error[];
const onWarning = (warning: Error) => void warnings.push(warning);

beforeEach(() => {
  secrets = new Secrets();
  warnings = [];
  process.on('warning', onWarning);
});

afterEach(() => {
  process.off('warning', onWarning);
  vi.unstubAllEnvs();
});

describe.skipIf(process.arch !== 'x64')("a Debian guest's secrets", () => {
  it('are in no process, file, log, error or kernel command line of its VM', async () => {
    const watch = new ProcessWatch(secrets);
    await using bench = await openBench();
    const vm = await bench.smartvm.launch();
    const env = { TOKEN: secrets.make('environment'), [secrets.make('name').replaceAll('-', '_')]: '1' };
    const stdin = secrets.make('input');
    const argument = secrets.make('argument');

    expect((await vm.exec(['sh', '-c', 'printf %s "$TOKEN"'], { env })).stdout).toBe(env.TOKEN);
    expect((await vm.exec(['cat'], { env, stdin })).stdout).toBe(stdin);
    expect((await vm.exec(['printf', '%s', argument])).stdout).toBe(argument);
    const missing = await vm.exec(['no-such-command', argument], { env, stdin });
    expect(missing).toMatchObject({ exitCode: 127 });
    const nobody = await vm.exec(['true', argument], { env, stdin, user: 'nobody-of-that-name' });
    expect(nobody).toMatchObject({ exitCode: 126 });
    expect(secrets.in(missing.stderr + nobody.stderr)).toEqual([]);
    expect(secrets.in((await vm.exec(['cat', '/proc/cmdline'])).stdout)).toEqual([]);

    const errors: Error[] = [
      await rejectionOf(vm.exec(['sleep', '1000'], { env, stdin, timeoutMs: 200 })),
      await rejectionOf(vm.exec(['sleep', '1000'], { env, stdin, signal: AbortSignal.timeout(200) })),
      await rejectionOf(vm.exec(['yes'], { env, stdin, maxOutputBytes: 10_000 })),
      await rejectionOf(vm.exec(`echo ${argument}`, { env })),
      await rejectionOf(vm.exec(['true'], { env: { TOKEN: env.TOKEN.repeat(10_000) } })),
      await rejectionOf(vm.exec([argument, '\0'], { env })),
    ];
    expect(await secrets.inFiles(bench.runtimeDir)).toEqual([]);

    const broken = rejectionOf(vm.exec(['sleep', '1000'], { env, stdin }));
    process.kill(vm.pid, 'SIGKILL');
    errors.push(await broken, await rejectionOf(vm.exec(['true'], { env })));
    expect(errors.map((error) => (error as { code?: string }).code)).toEqual([
      ...['EXEC_TIMEOUT', 'CANCELED', 'EXEC_OUTPUT_LIMIT', 'INVALID_OPTION', 'INVALID_OPTION', 'INVALID_OPTION'],
      ...['VMM_EXITED', 'VMM_EXITED'],
    ]);
    expect(errors.flatMap((error) => secrets.shownBy(error))).toEqual([]);
    expect(warnings.flatMap((warning) => secrets.shownBy(warning))).toEqual([]);
    const { found, looks } = await watch.end();
    expect(found).toEqual([]);
    expect(looks).toBeGreaterThan(10);
  });

  it("of SmartVM itself, the guest's keys, are in a file for its VMM and in one for this user", async () => {
    await using bench = await openBench();
    const vm = await bench.smartvm.launch();
    const folder = join(bench.runtimeDir, vm.id);
    const initramfs = join(folder, 'vmm/initramfs.cpio');
    const access = join(folder, 'guest.json');
    expect((await filesWith(['OPENSSH PRIVATE KEY'], folder)).toSorted()).toEqual([access, initramfs]);
    expect((await stat(initramfs)).mode & 0o7777).toBe(0o600);
    const { mode, uid } = await stat(access);
    expect([mode & 0o7777, uid]).toEqual([0o600, process.getuid?.()]);
    expect((await stat(folder)).mode & 0o7777).toBe(0o700);
  });
});

describe("this program's environment", () => {
  it.each(VMMS)('is kept from the keeper and the VMM of $name, in a jail and out of it', async (vmm) => {
    vi.stubEnv('SMARTVM_TEST_TOKEN', secrets.make('token'));
    for (const jail of new Set([vmm.jail ?? false, false])) {
      await using bench = await ToyBench.open({ ...vmm, jail });
      const { vm } = await bench.boot();
      const pids = (await processesNaming(bench.runtimeDir)).map((line) => line.split(' ')[0]);
      expect(pids).toContain(String(vm.pid));
      const environments = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/environ`, 'utf8')));
      expect(secrets.in(environments.join('\n'))).toEqual([]);
      // Of the guests' own QEMU too, whose command line does not name the directory.
      expect(secrets.in((await Promise.all(environmentsBelow(vm.pid))).join('\n'))).toEqual([]);
    }
  });
});

describe.skipIf(process.getuid?.() !== 0).each(VMMS)('what the metadata service of $name holds', (vmm) => {
  it('is in no log of any level, no error, no file and no snapshot', async () => {
    const watch = new ProcessWatch(secrets);
    await using bench = await ToyBench.open(vmm);
    const contents = { token: secrets.make('contents') };
    const { vm } = await bench.boot({
      networkInterfaces: [{ ifaceId: 'eth0', hostDevName: TAP }],
      mmds: { networkInterfaces: ['eth0'], contents },
      logger: { level: 'Trace', showLevel: true, showLogOrigin: true },
    });
    let log = '';
    const reading = (async () => {
      for await (const line of vm.logs()) {
        log += `${line}\n`;
      }
    })();
    expect(await vm.getMmds()).toEqual(contents);
    await vm.patchMmds({ more: secrets.make('patch') });
    await vm.putMmds({ token: secrets.make('replacement') });
    await vm.patchMmds({ one: secrets.get('patch').repeat(800) }); // a second one does not fit
    const errors = [
      await rejectionOf(vm.putMmds({ token: secrets.get('replacement').repeat(2_000) })),
      await rejectionOf(vm.patchMmds({ another: secrets.get('patch').repeat(800) })),
      await rejectionOf(
        bench.create({ mmds: { networkInterfaces: ['eth1'], contents: secrets.get('contents') as never } }),
      ),
    ];
    const snapshotPath = bench.scratch.file('run', 'snap');
    await vm.createSnapshot({ snapshotPath, memFilePath: bench.scratch.file('run', 'mem') });
    expect(await secrets.inFiles(bench.runtimeDir)).toEqual([]);
    await until(() => log.includes('/snapshot/create'), 30_000, 'the log of the last call');
    process.kill(vm.pid, 'SIGKILL');
    await reading;
    expect(log).toContain('/mmds');
    expect(secrets.in(log)).toEqual([]);
    expect(errors.flatMap((error) => secrets.shownBy(error))).toEqual([]);
    expect(warnings.flatMap((warning) => secrets.shownBy(warning))).toEqual([]);
    expect((await watch.end()).found).toEqual([]);
  });
});

function environmentsBelow(pid: number): Promise<string>[] {
  return [
    readFile(`/proc/${pid}/environ`, 'utf8'),
    childrenOf(pid).then(async (children) => (await Promise.all(children.flatMap(environmentsBelow))).join('\n')),
  ];
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return text.trim().split(' ').filter(Boolean).map(Number);
}
