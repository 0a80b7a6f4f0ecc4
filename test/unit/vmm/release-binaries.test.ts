import { readFile } from 'node:fs/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ImageManager, type ImageProgress } from '../../../ts/images/image-manager.js';
import { releasesIn } from '../../../ts/vmm/release-binaries.js';
import { printer, releaseServer } from '../../support/fake-release.js';
import { scratchDirectory } from '../../support/scratch.js';

afterEach(() => vi.unstubAllEnvs());

describe('ImageManager.firecracker', () => {
  it('gives a version, and the latest, fetched once and checked by the published sha256', async () => {
    await using scratch = await scratchDirectory();
    await using server = await releaseServer(scratch, { version: '1.17.0' }, { version: '1.16.1' });
    vi.stubEnv('SMARTVM_FIRECRACKER_MIRROR', server.url(''));
    const images = new ImageManager({ cacheDir: scratch.file('images'), releases: releasesIn(scratch.file('data')) });
    const seen: ImageProgress[] = [];
    const binaries = await images.firecracker('v1.16.1', { onProgress: (progress) => seen.push(progress) });
    expect(binaries.version).toBe('1.16.1');
    expect(await readFile(binaries.jailerPath, 'utf8')).toBe(printer('Jailer', '1.16.1'));
    expect(seen.at(-1)?.receivedBytes).toBe(seen.at(-1)?.totalBytes);
    expect((await images.firecracker()).version).toBe('1.17.0');
    server.requests.length = 0;
    expect(await images.firecracker('1.16.1')).toEqual(binaries);
    expect(server.requests).toEqual([]);
  });

  it.each(['1.16', '../x', '', 'newest'])('refuses the version %j', async (version) => {
    await using scratch = await scratchDirectory();
    const images = new ImageManager({ cacheDir: scratch.file('images'), releases: releasesIn(scratch.path) });
    await expect(images.firecracker(version)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  it('says so where it was given no releases', async () => {
    await expect(new ImageManager({ cacheDir: '/nowhere' }).firecracker()).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    });
  });
});
