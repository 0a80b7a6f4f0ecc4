import { readdir, readFile, stat, unlink, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { QemuVmm } from './qemu-vmm.js';

const PAUSED = { state: 'Paused' };

/** A snapshot with a toy guest that has said hello, which a test can load as often as it likes. */
async function takeSnapshot(vmm: QemuVmm, type: 'Full' | 'Diff' = 'Full'): Promise<{ state: string; mem: string }> {
  const [state, mem] = [vmm.scratch.file('state'), vmm.scratch.file('mem')];
  await vmm.call('PATCH', '/vm', PAUSED);
  const body = { snapshot_type: type, snapshot_path: state, mem_file_path: mem };
  expect(await vmm.call('PUT', '/snapshot/create', body)).toEqual({ status: 204, body: undefined });
  return { state, mem };
}

const load = ({ state, mem }: { state: string; mem: string }, more: object = {}) => ({
  snapshot_path: state,
  mem_backend: { backend_type: 'File', backend_path: mem },
  ...more,
});

describe.skipIf(process.arch !== 'x64')('snapshots of smartvm-qemu', () => {
  let source: QemuVmm;
  let disk: string;

  beforeAll(async () => {
    source = await QemuVmm.ready();
    disk = source.scratch.file('disk');
    await writeFile(disk, Buffer.alloc(1 << 20));
    const rate_limiter = { ops: { size: 1000, refill_time: 100 } };
    await source.call('PUT', '/drives/d', { drive_id: 'd', path_on_host: disk, is_root_device: false, rate_limiter });
    await source.call('PUT', '/entropy', {});
    await source.bootToyGuest();
  });

  afterAll(() => source[Symbol.asyncDispose]());

  it('leave the source as it was, to run on or to be written again', async () => {
    const first = await takeSnapshot(source);
    const bytes = await readFile(first.state);
    await takeSnapshot(source);
    // Nothing has run in between.
    expect((await readFile(first.state)).equals(bytes)).toBe(true);
    await source.call('PATCH', '/vm', { state: 'Resumed' });
    source.type('p');
    await source.says('PONG\n');
    expect((await readdir(source.scratch.path)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('serve several VMs at once, which go on where it was taken, and do not change the memory file', async () => {
    const snapshot = await takeSnapshot(source);
    const before = await readFile(snapshot.mem);
    await using a = await QemuVmm.ready();
    await using b = await QemuVmm.ready();
    expect((await a.call('PUT', '/snapshot/load', load(snapshot, { resume_vm: true }))).status).toBe(204);
    expect((await b.call('PUT', '/snapshot/load', load(snapshot))).status).toBe(204);
    expect((await a.call('GET', '/')).body).toMatchObject({ state: 'Running' });
    expect((await b.call('GET', '/')).body).toMatchObject({ state: 'Paused' });
    expect((await b.call('GET', '/vm/config')).body).toMatchObject({
      drives: [{ drive_id: 'd', path_on_host: disk, rate_limiter: { ops: { size: 1000 } } }],
      entropy: { rate_limiter: null },
      'boot-source': { kernel_image_path: source.scratch.file('toy') },
    });
    await b.call('PATCH', '/vm', { state: 'Resumed' });
    for (const clone of [a, b]) {
      clone.type('p');
      await clone.says('PONG\n');
      expect(clone.console).not.toContain('TOY GUEST UP');
    }
    expect((await readFile(snapshot.mem)).equals(before)).toBe(true);
  });

  it('can be taken of a VM that came out of one; a differential one has all of the memory', async () => {
    const snapshot = await takeSnapshot(source);
    await using clone = await QemuVmm.ready();
    await clone.call('PUT', '/snapshot/load', load(snapshot));
    const again = await takeSnapshot(clone, 'Diff');
    expect((await readFile(again.mem)).equals(await readFile(snapshot.mem))).toBe(true);
    const { blocks, size } = await stat(again.mem);
    expect(blocks * 512).toBeGreaterThanOrEqual(size);
    await using grandchild = await QemuVmm.ready();
    expect((await grandchild.call('PUT', '/snapshot/load', load(again, { resume_vm: true }))).status).toBe(204);
    grandchild.type('p');
    await grandchild.says('PONG\n');
  });

  it('give a VM with a balloon memory of its own', async () => {
    await using parent = await QemuVmm.ready();
    await parent.call('PUT', '/balloon', { amount_mib: 4, deflate_on_oom: true, stats_polling_interval_s: 1 });
    await parent.bootToyGuest();
    const snapshot = await takeSnapshot(parent);
    await using clone = await QemuVmm.ready();
    expect((await clone.call('PUT', '/snapshot/load', load(snapshot, { resume_vm: true }))).status).toBe(204);
    await unlink(snapshot.mem);
    clone.type('p');
    await clone.says('PONG\n');
    expect((await clone.call('GET', '/balloon/statistics')).body).toMatchObject({ target_mib: 4, actual_mib: 0 });
    await takeSnapshot(clone);
  });

  it('that fail to load end the VMM, after it has said why; the snapshot can be loaded afterwards', async () => {
    const snapshot = await takeSnapshot(source);
    await using vmm = await QemuVmm.ready();
    const broken = source.scratch.file('broken');
    await writeFile(broken, (await readFile(snapshot.state)).subarray(0, -1));
    expect(await vmm.call('PUT', '/snapshot/load', load({ ...snapshot, state: broken }))).toMatchObject({
      status: 400,
      body: { fault_message: expect.stringContaining('Load snapshot error: Failed to restore from snapshot:') },
    });
    expect(await vmm.exit()).toBe(1);
    expect(vmm.errors).toContain('Loading snapshot failed.');
    await using next = await QemuVmm.ready();
    expect((await next.call('PUT', '/snapshot/load', load(snapshot))).status).toBe(204);
  });

  it('killed on the way leave none that loads, or the one before', async () => {
    const snapshot = await takeSnapshot(source);
    for (const delayMs of [0, 2, 5, 10, 20]) {
      await using victim = await QemuVmm.ready();
      await victim.call('PUT', '/snapshot/load', load(snapshot));
      const [state, mem] = [victim.scratch.file('state'), victim.scratch.file('mem')];
      const body = { snapshot_path: state, mem_file_path: mem };
      const create = victim.call('PUT', '/snapshot/create', body).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      victim.process.kill('SIGKILL');
      await Promise.all([create, victim.exit()]);
      await using next = await QemuVmm.ready();
      const answer = await next.call('PUT', '/snapshot/load', load({ state, mem }, { resume_vm: true }));
      const complete = await stat(state).then(
        () => true,
        () => false,
      );
      expect(answer.status).toBe(complete ? 204 : 400);
    }
  });

  it('tell their version', async () => {
    const { state } = await takeSnapshot(source);
    await using vmm = await QemuVmm.start(['--describe-snapshot', state]);
    expect(await vmm.exit()).toBe(0);
    expect(vmm.console).toBe('v1.0.0\n');
  });
});
