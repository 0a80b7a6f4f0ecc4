import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, symlink } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import type { Holder } from '../../../../ts/util/holder.js';
import { currentProcess } from '../../../../ts/util/process-identity.js';
import { leaseUid } from '../../../../ts/vmm/jail/uid-lease.js';
import { type ScratchDirectory, scratchDirectory } from '../../../support/scratch.js';

/** Below those of the default range, so that no jail of this machine has one. */
const FIRST = 1_899_990_000;

async function holder(id: string): Promise<Holder> {
  return { id, runtimeDir: `/nonexistent/${id}`, owner: currentProcess() };
}

async function lease(scratch: ScratchDirectory, count: number) {
  return await leaseUid({ leaseDir: scratch.path, range: { first: FIRST, count }, holder: await holder('vm') });
}

async function plant(scratch: ScratchDirectory, uid: number): Promise<void> {
  const { owner, ...vm } = await holder('dead');
  await symlink(JSON.stringify({ ...vm, owner: { ...owner, startTime: '1' } }), scratch.file(String(uid)));
}

describe('leaseUid', () => {
  test('gives each VM a uid of its own, until there is none', async () => {
    await using scratch = await scratchDirectory();
    const leases = await Promise.all([1, 2, 3].map(() => lease(scratch, 3)));
    expect(leases.map(({ uid }) => uid).toSorted()).toEqual([FIRST, FIRST + 1, FIRST + 2]);
    await expect(lease(scratch, 3)).rejects.toMatchObject({
      code: 'UID_EXHAUSTED',
      message: expect.stringMatching(/1899990000 to 1899990002.*'jail\.uidRange'/),
    });
    await leases[1]?.release();
    expect((await lease(scratch, 3)).uid).toBe(leases[1]?.uid);
  });

  test('starts anywhere in a range, and finds a uid at once where few are taken', async () => {
    await using scratch = await scratchDirectory();
    const begin = performance.now();
    const uids: number[] = [];
    for (let n = 0; n < 300; n++) {
      uids.push((await lease(scratch, 65_536)).uid);
    }
    expect(new Set(uids).size).toBe(300);
    expect(Math.max(...uids) - Math.min(...uids)).toBeGreaterThan(30_000);
    expect(performance.now() - begin).toBeLessThan(10_000); // one by one from the start it would be 45,000 tries
    expect(await readdir(scratch.path)).toHaveLength(300);
  });

  test("takes over a dead VM's", async () => {
    await using scratch = await scratchDirectory();
    await plant(scratch, FIRST);
    expect((await lease(scratch, 1)).uid).toBe(FIRST);
  });

  test.skipIf(process.getuid?.() !== 0)('does not take over one by which a process runs (needs root)', async () => {
    await using scratch = await scratchDirectory();
    await plant(scratch, FIRST + 7);
    const child = spawn('sleep', ['1000'], { uid: FIRST + 7, gid: FIRST + 7, stdio: 'ignore' });
    await once(child, 'spawn');
    const range = { first: FIRST + 7, count: 1 };
    const ask = async () => await leaseUid({ leaseDir: scratch.path, range, holder: await holder('vm') });
    try {
      await expect(ask()).rejects.toMatchObject({ code: 'UID_EXHAUSTED' });
    } finally {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    }
    expect((await ask()).uid).toBe(FIRST + 7);
  });
});
