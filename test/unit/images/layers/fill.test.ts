import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { canReflink, fillLayer } from '../../../../ts/images/layers/fill.js';
import { createEmpty } from '../../../../ts/images/overlay.js';
import { missingTools, run } from '../../../../ts/util/run.js';
import { makeExt4 } from '../../../support/boot-image.js';
import { mountReflinking, mountTmpfs } from '../../../support/mounts.js';
import { type ScratchDirectory, scratchDirectory } from '../../../support/scratch.js';

const MIB = 1024 * 1024;
const isRoot = process.getuid?.() === 0;
const hasXfs = isRoot && (await missingTools(['mkfs.xfs'])).length === 0;

let scratch: ScratchDirectory;
let rootfs: string;

beforeEach(async () => {
  scratch = await scratchDirectory();
  rootfs = scratch.file('rootfs');
  await makeExt4(rootfs, 64);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await scratch[Symbol.asyncDispose]();
});

const part = (given: Partial<Parameters<typeof fillLayer>[1]>) => ({
  ...({ kind: 'overlay', rootfs, cacheDir: scratch.file('cache'), format: 'passing', sizeMib: 64 } as const),
  ...given,
});

describe('filling a layer', () => {
  test.each(['passing', 'kept'] as const)('with an overlay that is %s takes few blocks', async (format) => {
    await createEmpty(scratch.file('a'));
    const { ino } = await stat(scratch.file('a'));
    await fillLayer(scratch.file('a'), part({ format, sizeMib: 2048 }));
    const found = await stat(scratch.file('a'));
    expect([found.ino, found.size, found.mode & 0o777]).toEqual([ino, 2048 * MIB, 0o600]);
    expect(found.blocks * 512).toBeLessThan(2 * MIB);
    await run('e2fsck', ['-f', '-n', scratch.file('a')]);
    const features = (await run('dumpe2fs', ['-h', scratch.file('a')])).toString();
    expect(features.includes('has_journal')).toBe(format === 'kept');
  });

  test('with a copy has the same bytes, sparse, and the size that is asked for', async () => {
    await createEmpty(scratch.file('a'));
    await fillLayer(scratch.file('a'), part({ kind: 'copy', sizeMib: 96 }));
    const { size, blocks, mode } = await stat(scratch.file('a'));
    expect([size, mode & 0o777]).toEqual([96 * MIB, 0o600]);
    expect(blocks * 512).toBeLessThan(8 * MIB);
    expect((await readFile(scratch.file('a'))).subarray(0, 64 * MIB).equals(await readFile(rootfs))).toBe(true);
  });

  test.skipIf(!hasXfs)('by reflink shares its blocks with the image', async () => {
    await using xfs = await mountReflinking(scratch.file('xfs'), scratch.file('mounted'));
    const image = `${xfs.path}/image`;
    await run('cp', [rootfs, image]);
    expect(await canReflink(image, xfs.path)).toBe(true);
    await createEmpty(`${xfs.path}/a`);
    await fillLayer(`${xfs.path}/a`, part({ kind: 'reflink', rootfs: image }));
    expect((await stat(`${xfs.path}/a`)).mode & 0o777).toBe(0o600);
    expect((await run('filefrag', ['-v', `${xfs.path}/a`])).toString()).toContain('shared');
    expect((await readdir(xfs.path)).toSorted()).toEqual(['a', 'image']);
  });

  test.skipIf(!isRoot)('by reflink says where the file system cannot', async () => {
    await using memory = await mountTmpfs(scratch.file('memory'), '64m');
    expect(await canReflink(rootfs, memory.path)).toBe(false);
    expect(await readdir(memory.path)).toEqual([]);
    await createEmpty(`${memory.path}/a`);
    await expect(fillLayer(`${memory.path}/a`, part({ kind: 'reflink' }))).rejects.toMatchObject({
      code: 'LAYER_UNSUPPORTED',
    });
  });

  test.skipIf(!isRoot)('where there is no room says how much there is', async () => {
    await using memory = await mountTmpfs(scratch.file('memory'), '1m');
    await writeFile(rootfs, Buffer.alloc(4 * MIB, 1));
    await createEmpty(`${memory.path}/a`);
    await expect(fillLayer(`${memory.path}/a`, part({ kind: 'copy', sizeMib: 4 }))).rejects.toMatchObject({
      code: 'FILE_WRITE_FAILED',
      message: expect.stringMatching(/no room for .*: 0 MiB are free there/),
    });
  });

  test('with a tool that fails leaves no template', async () => {
    await mkdir(scratch.file('bin'));
    await writeFile(scratch.file('bin', 'mke2fs'), '#!/bin/sh\necho broken >&2; exit 1\n', { mode: 0o755 });
    vi.stubEnv('PATH', `${scratch.file('bin')}:${process.env.PATH}`);
    await createEmpty(scratch.file('a'));
    const message = expect.stringContaining('broken');
    await expect(fillLayer(scratch.file('a'), part({}))).rejects.toMatchObject({ code: 'TOOL_FAILED', message });
    expect(await readdir(scratch.file('cache', 'overlay'))).toEqual(['lock']);
  });
});
