import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { defaultDataDir } from '../../ts/config/directories.js';
import { SmartVM } from '../../ts/smartvm.js';
import { readRecord } from '../../ts/vmm/registry/record-file.js';
import type { ManagerWord } from '../fixtures/manager.js';
import { bundleProgram } from '../support/bundle.js';
import { type Bench, openBench } from '../support/debian-vm.js';
import { Program } from '../support/manager.js';
import { scratchDirectory } from '../support/scratch.js';

const NAME = `t-${randomBytes(4).toString('hex')}`;
const KEPT = { ephemeral: false, layerName: NAME } as const;
const FOLDER = join(defaultDataDir(), 'layers', 'kept');

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'none',
    (error: { code?: string }) => error.code,
  );
const filesOf = async () => (await readdir(FOLDER)).filter((name) => name.startsWith(NAME)).toSorted();

describe('a layer that is kept', () => {
  let bench: Bench;

  beforeAll(async () => {
    bench = await openBench();
    vi.stubEnv('SMARTVM_RUNTIME_DIR', bench.runtimeDir);
  }, 300_000);

  afterAll(async () => {
    vi.unstubAllEnvs();
    await bench.smartvm.layers.remove(NAME).catch(() => undefined);
    await bench[Symbol.asyncDispose]();
  });

  it('is not kept of a start that was not through', async () => {
    // On a busy machine the VMM's own first answer can take as long.
    expect(await codeOf(bench.smartvm.launch({ ...KEPT, startTimeoutMs: 1_000 }))).toMatch(/^(BOOT|API)_TIMEOUT$/);
    expect(await filesOf()).toEqual([]);
    expect(await codeOf(bench.smartvm.layers.remove(NAME))).toBe('LAYER_NOT_FOUND');
  });

  it('is found again by its name, larger where asked for, and is one VM’s at a time', async () => {
    {
      await using vm = await bench.smartvm.launch({ ...KEPT, diskSizeMib: 64 });
      await vm.exec('echo first > /root/file', { shell: true });
      expect((await bench.smartvm.layers.list()).layers.find(({ name }) => name === NAME)?.usedBy).toBe(vm.id);
      expect(await codeOf(bench.smartvm.launch(KEPT))).toBe('LAYER_IN_USE');
      expect(await codeOf(bench.smartvm.layers.remove(NAME))).toBe('LAYER_IN_USE');
    }
    expect(await filesOf()).toEqual([`${NAME}.img`, `${NAME}.json`]);
    await using vm = await bench.smartvm.launch({ ...KEPT, diskSizeMib: 512 });
    const { stdout } = await vm.exec('cat /root/file; df --output=size -m / | tail -1', { shell: true });
    const [file, size] = stdout.split('\n');
    expect(file).toBe('first');
    expect(Number(size)).toBeGreaterThan(400);
    expect(await codeOf(bench.smartvm.imageManager.remove('debian'))).toBe('IMAGE_IN_USE');
  });

  it('outlives its program, its keeper and its VMM, all killed; the next VM has what was synced', async () => {
    const order = {
      smartvm: { runtimeDir: bench.runtimeDir, vmm: 'qemu' },
      launches: [{ id: 'killed', ...KEPT }],
    } as const;
    await using scratch = await scratchDirectory();
    await bundleProgram('manager.ts', scratch.file('manager.mjs'));
    await using manager = new Program<ManagerWord>(scratch.file('manager.mjs'), order, bench.runtimeDir);
    expect(await manager.word()).toMatchObject([{ id: 'killed' }]);
    const other = new SmartVM({ runtimeDir: bench.runtimeDir, vmm: 'qemu' });
    const attached = await other.attach('killed');
    await attached.exec('echo second > /root/file; sync', { shell: true });
    const { processes } = await readRecord(join(bench.runtimeDir, 'killed'));
    process.kill(processes?.keeper.pid ?? 0, 'SIGKILL');
    await manager.kill();
    await attached.stop({ force: true }).catch(() => undefined);
    await using vm = await bench.smartvm.launch(KEPT);
    expect((await vm.exec(['cat', '/root/file'])).stdout).toBe('second\n');
    await bench.smartvm.prune();
    expect(existsSync(join(FOLDER, `${NAME}.img`))).toBe(true);
  });

  it('that is damaged is refused: by its superblock before a VM is made, by the guest where it goes deeper', async () => {
    const overwrite = async (offset: number, length: number) => {
      const file = await open(join(FOLDER, `${NAME}.img`), 'r+');
      await file.write(Buffer.alloc(length, 0xa5), 0, length, offset);
      await file.close();
    };
    await overwrite(2048, 62 * 1024); // the descriptors of the groups, and what follows
    // VMM_EXITED, with the agent's words, where the guest has reset before the host has reached it.
    expect(['LAYER_DAMAGED', 'VMM_EXITED']).toContain(await codeOf(bench.smartvm.launch(KEPT)));
    await overwrite(1024, 1024);
    const error = await bench.smartvm.launch(KEPT).catch((reason: Error) => reason);
    expect(error).toMatchObject({
      code: 'LAYER_DAMAGED',
      message: expect.stringContaining(`smartvm layer rm ${NAME}`),
    });
    expect((await readdir(bench.runtimeDir)).filter((name) => !name.startsWith('.'))).toEqual([]);
    await bench.smartvm.layers.remove(NAME);
    expect(await filesOf()).toEqual([]);
    expect(await readdir(dirname(FOLDER))).toContain('kept');
  });
});
