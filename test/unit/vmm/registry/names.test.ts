import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { currentProcess } from '../../../../ts/util/process-identity.js';
import { nameClaimerFor } from '../../../../ts/vmm/registry/names.js';
import { prune } from '../../../../ts/vmm/registry/prune.js';
import { renderRecord, type VmRecord } from '../../../../ts/vmm/registry/record.js';
import { sampleRecord } from '../../../support/record.js';
import { type ScratchDirectory, scratchDirectory } from '../../../support/scratch.js';

let scratch: ScratchDirectory;

beforeEach(async () => {
  scratch = await scratchDirectory();
  vi.stubEnv('SMARTVM_RUNTIME_DIR', scratch.file('run'));
  await mkdir(scratch.file('run'), { mode: 0o700 });
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await scratch[Symbol.asyncDispose]();
});

/** Makes the directory of a VM of this program that has the name, or what the record says. */
async function plant(id: string, part: Partial<VmRecord> = {}): Promise<string> {
  const path = scratch.file('run', id);
  await mkdir(join(path, 'vmm'), { mode: 0o700, recursive: true });
  await writeFile(join(path, 'vm.json'), renderRecord(await sampleRecord({ id, name: 'web', ...part })));
  return path;
}

async function claim(id: string, root = 'run'): Promise<() => Promise<void>> {
  const claimer = nameClaimerFor({ id, runtimeDir: scratch.file(root, id) }, 'web');
  return (await claimer?.(new AbortController().signal)) ?? (async () => undefined);
}

const leases = async () => (await readdir(scratch.file('run/.leases/name'))).filter((name) => name !== '.lock');

/** A program that is no more. */
async function deadOwner(): Promise<VmRecord['owner']> {
  return { ...currentProcess(), pid: 1, startTime: '999999999999' };
}

describe('the name of a VM', () => {
  test('is one VM’s that lives, and the refusal says whose; given back, it is the next one’s', async () => {
    await Promise.all([plant('vm-1'), plant('vm-2')]);
    const release = await claim('vm-1');
    await expect(claim('vm-2')).rejects.toMatchObject({
      code: 'NAME_TAKEN',
      message: expect.stringContaining('VM vm-1'),
      details: { name: 'web', id: 'vm-1' },
    });
    await release();
    await claim('vm-2');
    await expect(claim('vm-1')).rejects.toMatchObject({ details: { id: 'vm-2' } });
  });

  test('is one of many’s who want it at once', async () => {
    const ids = Array.from({ length: 20 }, (_, index) => `vm-${index}`);
    await Promise.all(ids.map((id) => plant(id)));
    const results = await Promise.allSettled(ids.map((id) => claim(id)));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  test('of another runtime directory is another', async () => {
    await Promise.all([plant('vm-1'), mkdir(scratch.file('other'), { mode: 0o700 })]);
    await claim('vm-1');
    await claim('vm-1', 'other');
  });

  test.each([
    ['that is gone with its directory', async (path: string) => rm(path, { recursive: true })],
    ['whose id another has by now', async (_path: string) => plant('vm-1', { name: 'other' })],
    ['whose program is dead', async (_path: string) => plant('vm-1', { owner: await deadOwner() })],
    ['whose keeper is dead', async (_path: string) => plant('vm-1', { detached: true })],
  ])('of a VM %s is free', async (_what, end) => {
    const path = await plant('vm-1');
    await claim('vm-1');
    await end(path);
    await plant('vm-2');
    await claim('vm-2');
  });

  test('of a VM whose record nobody can read is its while its program lives', async () => {
    const path = await plant('vm-1');
    await claim('vm-1');
    await writeFile(join(path, 'vm.json'), '{"version": 2}');
    await plant('vm-2');
    await expect(claim('vm-2')).rejects.toMatchObject({ code: 'NAME_TAKEN' });
  });

  test('goes with what else a dead VM has left, and alone, where that is gone', async () => {
    await Promise.all([plant('vm-1'), plant('vm-2', { name: 'db' })]);
    await claim('vm-1');
    await plant('vm-1', { detached: true });
    const plan = await prune(scratch.file('run'), { dryRun: true });
    const directory = { kind: 'directory', name: scratch.file('run/vm-1') };
    expect(plan.vms.map(({ id, things }) => [id, things])).toEqual([
      ['vm-1', [{ kind: 'lease', name: 'name web' }, directory]],
    ]);
    expect([plan.others, await leases()]).toEqual([[], ['web']]);
    await rm(scratch.file('run/vm-1'), { recursive: true });
    expect((await prune(scratch.file('run'))).others).toEqual([{ kind: 'lease', name: 'name web' }]);
    expect(await leases()).toEqual([]);
  });

  test('is not looked for where its VM has none: nothing is made beside the directory of a VM', async () => {
    const path = await plant('vm-1', { name: undefined, owner: await deadOwner() });
    await prune(scratch.file('run'));
    expect([existsSync(path), existsSync(join(dirname(path), '.leases/name'))]).toEqual([false, false]);
  });
});
