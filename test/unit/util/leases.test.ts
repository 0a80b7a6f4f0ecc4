import { readdir, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import type { Holder } from '../../../ts/util/holder.js';
import { acquireLease, type LeaseOptions } from '../../../ts/util/leases.js';
import { currentProcess, isAlive } from '../../../ts/util/process-identity.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

const isHeld = ({ owner }: Holder) => isAlive(owner);

async function holder(id: string, startTime?: string): Promise<Holder> {
  const owner = currentProcess();
  return { id, runtimeDir: `/run/x/${id}`, owner: startTime === undefined ? owner : { ...owner, startTime } };
}

async function take(scratch: ScratchDirectory, candidates: Iterable<string>, part: Partial<LeaseOptions> = {}) {
  return await acquireLease({ directory: scratch.path, candidates, holder: await holder('vm'), isHeld, ...part });
}

const names = async (scratch: ScratchDirectory) => (await readdir(scratch.path)).filter((name) => name !== '.lock');

describe('acquireLease', () => {
  test('takes the first name that is free, and writes down for whom', async () => {
    await using scratch = await scratchDirectory();
    expect((await take(scratch, ['a', 'b']))?.name).toBe('a');
    expect((await take(scratch, ['a', 'b']))?.name).toBe('b');
    expect(JSON.parse(await readlink(scratch.file('a')))).toEqual(await holder('vm'));
    expect(await take(scratch, ['a', 'b'])).toBeUndefined();
    expect(await take(scratch, [])).toBeUndefined();
  });

  test('of many at once, each gets a name of its own', async () => {
    await using scratch = await scratchDirectory();
    const candidates = Array.from({ length: 20 }, (_, n) => `n${n}`);
    const leases = await Promise.all(Array.from({ length: 30 }, () => take(scratch, candidates)));
    const taken = leases.flatMap((lease) => lease?.name ?? []);
    expect(taken.toSorted()).toEqual(candidates.toSorted());
  });

  test('a name that was given back is free; it is given back once', async () => {
    await using scratch = await scratchDirectory();
    const first = await take(scratch, ['a']);
    await first?.release();
    expect(await names(scratch)).toEqual([]);
    await take(scratch, ['a']);
    await first?.release();
    expect(await names(scratch)).toEqual(['a']);
  });

  test("never gives back another's", async () => {
    await using scratch = await scratchDirectory();
    const lease = await take(scratch, ['a']);
    await rm(scratch.file('a'));
    await take(scratch, ['a'], { holder: await holder('other') });
    await lease?.release();
    expect(await names(scratch)).toEqual(['a']);
  });

  test("takes a dead holder's when there is no other", async () => {
    await using scratch = await scratchDirectory();
    await symlink(JSON.stringify(await holder('dead', '1')), scratch.file('a'));
    expect((await take(scratch, ['a', 'b']))?.name).toBe('b');
    expect((await take(scratch, ['a', 'b']))?.name).toBe('a');
    expect(await take(scratch, ['a', 'b'])).toBeUndefined();
  });

  test("does not take a dead holder's that may not be used again", async () => {
    await using scratch = await scratchDirectory();
    for (const name of ['a', 'b']) {
      await symlink(JSON.stringify(await holder('dead', '1')), scratch.file(name));
    }
    const reclaimable = async (dead: readonly string[]) => dead.filter((name) => name !== 'a');
    expect((await take(scratch, ['a', 'b'], { reclaimable }))?.name).toBe('b');
    expect(await take(scratch, ['a', 'b'], { reclaimable })).toBeUndefined();
  });

  test.each<[string, (path: string) => Promise<void>]>([
    ['a file', (path) => writeFile(path, '')],
    ['a link to somewhere', (path) => symlink('/etc', path)],
    ['a holder without an owner', (path) => symlink('{"id":"a","runtimeDir":"/b"}', path)],
    ['no object', (path) => symlink('null', path)],
  ])('leaves what is no lease alone: %s', async (_what, make) => {
    await using scratch = await scratchDirectory();
    await make(scratch.file('a'));
    expect(await take(scratch, ['a'])).toBeUndefined();
    expect(await names(scratch)).toEqual(['a']);
  });

  test('its signal ends the wait for the lock', async () => {
    await using scratch = await scratchDirectory();
    await take(scratch, ['a']);
    await expect(take(scratch, ['a'], { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELED' });
  });
});
