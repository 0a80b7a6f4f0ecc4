import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SocketClient } from '../../ts/firecracker/socket-client.js';
import { SmartVM } from '../../ts/smartvm.js';
import { endProcess } from '../../ts/util/end-process.js';
import { run } from '../../ts/util/run.js';
import { identityOf } from '../support/keeper-bench.js';
import { tapsOf } from '../support/kills.js';
import { until } from '../support/leftovers.js';
import { ManagerBench } from '../support/manager.js';
import { VMMS, type VmmAtHand } from '../support/toy-vm.js';

const CAN_RUN = process.arch === 'x64' && process.getuid?.() === 0;
/** Neither names nor processes differ by VMM: the fastest. */
const VMM = VMMS.at(-1) as VmmAtHand;
const NAME = `svx${process.pid}`;

let bench: ManagerBench;
let smartvm: SmartVM;

beforeEach(async () => {
  bench = await ManagerBench.open(VMM);
  smartvm = new SmartVM(bench.options);
});

afterEach(async () => {
  await smartvm.cleanup();
  await smartvm.prune();
  await bench[Symbol.asyncDispose]();
});

/** A VMM that its user has started, under an id that SmartVM has too. */
async function strangersVmm(
  id: string,
  socketPath: string,
): Promise<{ child: ChildProcess; version: () => Promise<unknown> }> {
  const child = spawn(VMM.path, ['--api-sock', socketPath, '--id', id], { stdio: 'ignore' });
  const version = async () => {
    const client = new SocketClient({ socketPath });
    return await client.get('/version').finally(() => client.close());
  };
  const answers = () =>
    version().then(
      () => true,
      () => false,
    );
  await until(answers, 30_000, 'an answer of the VMM');
  return { child, version };
}

describe.skipIf(!CAN_RUN)("what is somebody else's", () => {
  test('is there when all that dead VMs have left is undone: a VMM of the same id, TAP, namespace, table, files', async () => {
    const id = bench.id();
    const { taps, networkInterfaces } = tapsOf(VMM);
    const folder = bench.scratch.file('elsewhere');
    await mkdir(folder);
    const { child, version } = await strangersVmm(id, join(folder, 'api.sock'));
    try {
      await run('ip', ['tuntap', 'add', 'dev', NAME, 'mode', 'tap']);
      await run('ip', ['netns', 'add', NAME]);
      await run('nft', ['add', 'table', 'inet', NAME]);
      await writeFile(join(folder, 'file'), 'mine');
      await using manager = bench.manager({ configs: [bench.config(id, { networkInterfaces })] });
      await manager.word();
      const { keeper } = await bench.identitiesOf(id);
      process.kill(keeper.pid, 'SIGKILL');
      await manager.kill();
      const { vms, others } = await smartvm.prune();
      expect([vms.map((vm) => [vm.id, vm.error]), others]).toEqual([[[id, undefined]], []]);
      expect(taps.filter((tap) => existsSync(`/sys/class/net/${tap}`))).toEqual([]);
      expect(await version()).toEqual({ firecracker_version: expect.any(String) });
      expect(existsSync(`/sys/class/net/${NAME}`)).toBe(true);
      expect(String(await run('ip', ['netns', 'list']))).toContain(NAME);
      expect(String(await run('nft', ['list', 'tables']))).toContain(`table inet ${NAME}`);
      expect((await readdir(folder)).toSorted()).toEqual(['api.sock', 'file']);
    } finally {
      const vmm = await identityOf(child.pid ?? 0);
      await endProcess(vmm);
      await run('nft', ['delete', 'table', 'inet', NAME]).catch(() => undefined);
      await run('ip', ['netns', 'delete', NAME]).catch(() => undefined);
      await run('ip', ['link', 'delete', 'dev', NAME]).catch(() => undefined);
    }
  });
});

describe.skipIf(!CAN_RUN)('a program whose umask is 000', () => {
  test('has directories of 0700, and sockets, keys, records and logs of 0600', async () => {
    const umask = process.umask(0);
    try {
      await using vm = await smartvm.createVM(bench.config(bench.id()));
      await vm.start();
      const open: string[] = [];
      for (const name of ['', ...(await readdir(bench.runtimeDir, { recursive: true }))]) {
        const found = await stat(join(bench.runtimeDir, name)).catch(() => undefined); // links of leases lead nowhere
        // The folder of a jailed VMM can be walked through, by its uid; its files are its own.
        const allowed = /(^|\/)(vmm|jail)(\/|$)/.test(name) ? 0o711 : found?.isDirectory() ? 0o700 : 0o600;
        if (found && (found.mode & 0o777 & ~allowed) !== 0) {
          open.push(`${name} ${(found.mode & 0o777).toString(8)}`);
        }
      }
      expect(open).toEqual([]);
    } finally {
      process.umask(umask);
    }
  });
});

test('ids that are none are refused by whatever takes one, before anything is made', async () => {
  const before = await readdir(bench.scratch.path);
  for (const id of ['../x', '-rf', 'a\nb', '', 'x'.repeat(65), ';x']) {
    const config = { id, bootSource: { kernelImagePath: bench.kernelImagePath } };
    for (const attempt of [() => smartvm.createVM(config), () => smartvm.launch({ id }), () => smartvm.attach(id)]) {
      await expect(attempt(), JSON.stringify(id)).rejects.toMatchObject({ code: 'INVALID_ID' });
    }
  }
  expect(await readdir(bench.scratch.path)).toEqual(before);
});
