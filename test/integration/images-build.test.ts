import { mkdir, readdir, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { defaultDataDir } from '../../ts/config/directories.js';
import { ImageManager, type ImageProgress } from '../../ts/images/image-manager.js';
import { bundleProgram } from '../support/bundle.js';
import { processesNaming, until } from '../support/leftovers.js';
import { resolver } from '../support/resolver.js';
import { scratchDirectory } from '../support/scratch.js';

const BUILD_TIMEOUT_MS = 600_000;

/** Of the same packages, a build of another day has the same digest: that of all tests, or another one where the archives have moved on. */
async function expectSameBytes(manager: ImageManager): Promise<void> {
  const built = manager.inspect('debian');
  const shared = new ImageManager({ cacheDir: join(defaultDataDir(), 'images') });
  await shared.resolve('debian');
  let other = shared.inspect('debian');
  if (JSON.stringify(other?.inputs) !== JSON.stringify(built?.inputs)) {
    await manager.resolve('debian', { refresh: true });
    other = manager.inspect('debian');
  }
  expect(other?.createdAt).not.toBe(built?.createdAt);
  expect([other?.digest, other?.blobs]).toEqual([built?.digest, built?.blobs]);
}

afterEach(() => vi.unstubAllEnvs());

describe('building an image', () => {
  it('says what apt said when the mirror cannot be reached, and leaves nothing', async () => {
    await using scratch = await scratchDirectory();
    vi.stubEnv('http_proxy', 'http://127.0.0.1:1');
    const manager = new ImageManager({ cacheDir: scratch.file('cache'), agentPath: '/bin/true' });
    const error = await manager.resolve('debian').catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'IMAGE_BUILD_FAILED' });
    expect((error as Error).message).toMatch(
      /debian image could not be built: mmdebstrap exited with \d+: [\s\S]*127\.0\.0\.1/,
    );
    expect(await readdir(scratch.file('cache', 'building'))).toEqual([]);
    expect(await manager.list()).toEqual([]);
    expect(await processesNaming(scratch.path)).toEqual([]);
  });

  it('names every missing tool and the command that installs them, before it fetches anything', async () => {
    await using scratch = await scratchDirectory();
    await mkdir(scratch.file('bin'));
    await Promise.all(['flock', 'cat'].map((tool) => symlink(`/usr/bin/${tool}`, scratch.file('bin', tool))));
    vi.stubEnv('PATH', scratch.file('bin'));
    const manager = new ImageManager({ cacheDir: scratch.file('cache'), agentPath: '/bin/true' });
    await expect(manager.resolve('debian')).rejects.toMatchObject({
      code: 'TOOL_MISSING',
      message: expect.stringContaining('apt-get install mmdebstrap squashfs-tools'),
    });
    expect(await readdir(scratch.file('cache', 'building'))).toEqual([]);
  });

  it(
    'goes on in another program when the building one is killed, and ends with the same image as ever and no leftovers',
    async () => {
      await using scratch = await scratchDirectory();
      const cacheDir = scratch.file('cache');
      await bundleProgram('resolve-image.ts', scratch.file('resolve.mjs'));
      const other = () => resolver([process.execPath, scratch.file('resolve.mjs')], cacheDir);
      await using first = other();
      const isFetching = ({ step, message }: ImageProgress) => step === 'kernel' && message.startsWith('downloading');
      await until(() => first.words.some(isFetching), BUILD_TIMEOUT_MS / 2, 'the middle of a step');
      const messages: ImageProgress[] = [];
      const manager = new ImageManager({ cacheDir, agentPath: '/bin/true' });
      const resolving = manager.resolve('debian', { onProgress: (progress) => messages.push(progress) });
      await until(() => messages.length > 1, 10_000, 'word of the other program, and how far it is');
      expect(messages[0]).toMatchObject({ step: 'wait' });
      await first.kill();
      const image = await resolving;
      expect(messages.map(({ step }) => step)).toEqual(expect.arrayContaining(['build', 'kernel', 'rootfs', 'done']));
      expect(messages).toContainEqual(
        expect.objectContaining({ step: 'wait', message: expect.stringMatching(/^another program: (?!waiting)/) }),
      );
      expect(await readdir(join(cacheDir, 'building'))).toEqual([]);
      expect(await manager.prune()).toEqual([]);
      expect((await stat(image.rootfs.path)).size).toBeGreaterThan(100_000_000);
      expect(await processesNaming(cacheDir)).toEqual([]);
      await using again = other();
      expect(await again.end()).toEqual({ step: 'resolved', message: image.digest });
      expect(again.words).toHaveLength(1);
      await expectSameBytes(manager);
    },
    BUILD_TIMEOUT_MS,
  );
});
