import { mkdir, readdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { LayerOptions } from '../../../../ts/config/layers.js';
import type { BootImage } from '../../../../ts/images/image-types.js';
import { describeKeptLayer } from '../../../../ts/images/layers/kept.js';
import { planLayer } from '../../../../ts/images/layers/plan.js';
import { imageOf, makeExt4, manifestOf } from '../../../support/boot-image.js';
import { mountTmpfs } from '../../../support/mounts.js';
import { type ScratchDirectory, scratchDirectory } from '../../../support/scratch.js';

const MIB = 1024 * 1024;
const isRoot = process.getuid?.() === 0;

let scratch: ScratchDirectory;
let squashfs: BootImage;

beforeEach(async () => {
  scratch = await scratchDirectory();
  await writeFile(scratch.file('rootfs'), 'hsqs');
  squashfs = imageOf(scratch.file('rootfs'), 'squashfs');
  await mkdir(scratch.file('run'));
});

afterEach(() => scratch[Symbol.asyncDispose]());

type Options = LayerOptions & { name?: string; id?: string };

async function plan(options: Options, image = squashfs, runtimeRoot = scratch.file('run')) {
  return await planLayer(options, image, {
    id: 'vm-1',
    ownFolder: join(runtimeRoot, 'vm-1', 'vmm'),
    ownFolders: () => [join(runtimeRoot, 'vm-2', 'vmm')],
    runtimeRoot,
    layersDir: scratch.file('layers'),
  });
}

async function keepOne(name: string, sizeMib: number, kind: 'overlay' | 'copy' = 'overlay'): Promise<string> {
  await mkdir(scratch.file('layers', 'kept'), { recursive: true, mode: 0o700 });
  const path = scratch.file('layers', 'kept', `${name}.img`);
  await makeExt4(path, sizeMib);
  await describeKeptLayer(path, { name, kind, image: manifestOf('test', 'sha256:1'), createdAt: 'now' });
  return path;
}

describe('a layer that goes with its VM', () => {
  test('is an overlay of 1 GiB in its directory, where that is on a disk', async () => {
    const path = scratch.file('run', 'vm-1', 'vmm', 'layer.img');
    expect(await plan({})).toEqual({ kind: 'overlay', sizeMib: 1024, grows: false, place: 'own', path });
  });

  test('is a copy of an ext4 image where asked for, at least as large, and grown where larger', async () => {
    await makeExt4(scratch.file('ext4'), 32);
    const ext4 = imageOf(scratch.file('ext4'), 'ext4');
    expect(await plan({ layer: 'copy' }, ext4)).toMatchObject({ kind: 'copy', sizeMib: 32, grows: false });
    expect(await plan({ layer: 'copy', diskSizeMib: 64 }, ext4)).toMatchObject({ sizeMib: 64, grows: true });
    await expect(plan({ layer: 'copy', diskSizeMib: 31 }, ext4)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  test.each(['copy', 'reflink'] as const)('is refused as a %s of a squashfs', async (layer) => {
    await expect(plan({ layer })).rejects.toMatchObject({ code: 'LAYER_UNSUPPORTED' });
  });

  test.skipIf(!isRoot)('is in memory only while all could grow to their sizes in half of it', async () => {
    await using memory = await mountTmpfs(scratch.file('memory'), '64m');
    expect(await plan({ diskSizeMib: 32 }, squashfs, memory.path)).toMatchObject({ place: 'own' });
    const large = await plan({ diskSizeMib: 33 }, squashfs, memory.path);
    expect(large).toMatchObject({ place: 'passing' });
    expect(large.path).toMatch(/\/layers\/running\/vm-1-[0-9a-f]{8}\.img$/);
    await mkdir(join(memory.path, 'vm-2', 'vmm'), { recursive: true });
    await writeFile(join(memory.path, 'vm-2', 'vmm', 'layer.img'), '');
    await truncate(join(memory.path, 'vm-2', 'vmm', 'layer.img'), 20 * MIB);
    expect(await plan({ diskSizeMib: 32 }, squashfs, memory.path)).toMatchObject({ place: 'passing' });
    expect(await plan({ diskSizeMib: 16 }, squashfs, memory.path)).toMatchObject({ place: 'passing' });
  });

  test.each([
    [{ diskSizeMib: 15 }, 'diskSizeMib'],
    [{ diskSizeMib: 2 ** 40 }, 'diskSizeMib'],
    [{ layer: 'zfs' }, 'layer'],
    [{ ephemeral: 'no' }, 'ephemeral'],
    [{ layerName: '../x', ephemeral: false }, 'layerName'],
    [{ layerName: 'db' }, 'layerName'],
    [{ ephemeral: false }, 'ephemeral'],
  ])('with %j is refused', async (options, field) => {
    const message = expect.stringContaining(field);
    await expect(plan(options as Options)).rejects.toMatchObject({ code: 'INVALID_OPTION', message });
    expect((await readdir(scratch.path)).toSorted()).toEqual(['rootfs', 'run']);
  });
});

describe('a layer that is kept', () => {
  test.each([
    [{ layerName: 'db', name: 'web', id: 'x' }, 'db'],
    [{ name: 'web', id: 'x' }, 'web'],
    [{ id: 'x' }, 'x'],
  ])('of %j is found by the name %s', async (options, name) => {
    const path = scratch.file('layers', 'kept', `${name}.img`);
    const found = await plan({ ephemeral: false, ...options });
    expect(found).toEqual({ kind: 'overlay', sizeMib: 1024, grows: false, place: 'kept', path });
  });

  test('has its size until a larger one is asked for, and does not shrink', async () => {
    const path = await keepOne('db', 32);
    const kept = { ephemeral: false, layerName: 'db' };
    expect(await plan(kept)).toMatchObject({ path, sizeMib: 32, grows: true, found: { name: 'db' } });
    expect(await plan({ ...kept, diskSizeMib: 48 })).toMatchObject({ sizeMib: 48, grows: true });
    await expect(plan({ ...kept, diskSizeMib: 31 })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  test('fits the image that it lies over, and the kind that it is', async () => {
    await keepOne('db', 32);
    await keepOne('whole', 32, 'copy');
    const other = imageOf(scratch.file('rootfs'), 'squashfs', 'sha256:2');
    const refused = { code: 'LAYER_MISMATCH' };
    await expect(plan({ ephemeral: false, id: 'db' }, other)).rejects.toMatchObject(refused);
    await expect(plan({ ephemeral: false, id: 'db', layer: 'copy' })).rejects.toMatchObject(refused);
    expect(await plan({ ephemeral: false, id: 'whole' }, other)).toMatchObject({ kind: 'copy' }); // it has all of it
  });

  test.each(['', '[]', '{"name":"other"}', '{"name":"db","kind":"x"}', '{"__proto__":{}}'])(
    'whose description is %j is damaged',
    async (text) => {
      const path = await keepOne('db', 32);
      await writeFile(path.replace(/img$/, 'json'), text);
      await expect(plan({ ephemeral: false, id: 'db' })).rejects.toMatchObject({ code: 'LAYER_DAMAGED' });
    },
  );
});
