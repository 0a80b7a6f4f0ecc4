import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ImageManager, type ImageProgress } from '../../ts/images/image-manager.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { processesNaming, until } from '../support/leftovers.js';
import { scratchDirectory } from '../support/scratch.js';

const BUILD_TIMEOUT_MS = 600_000;

/** Another program that resolves the image in the same cache. */
function otherProgram(cacheDir: string): { child: ChildProcess; progress: ImageProgress[] } {
  const script = join(PACKAGE_ROOT, 'test/fixtures/resolve-image.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', script, cacheDir], {
    cwd: PACKAGE_ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const progress: ImageProgress[] = [];
  const lines = createInterface({ input: child.stdout as Readable });
  lines.on('line', (line) => progress.push(JSON.parse(line) as ImageProgress));
  return { child, progress };
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
    'goes on in another program when the building one is killed, and ends with one whole image and no leftovers',
    async () => {
      await using scratch = await scratchDirectory();
      const cacheDir = scratch.file('cache');
      const first = otherProgram(cacheDir);
      await until(() => first.progress.some(({ step }) => step === 'rootfs'), BUILD_TIMEOUT_MS / 2, 'the second step');
      const messages: ImageProgress[] = [];
      const manager = new ImageManager({ cacheDir, agentPath: '/bin/true' });
      const resolving = manager.resolve('debian', { onProgress: (progress) => messages.push(progress) });
      await until(() => messages.length > 1, 10_000, 'word of the other program, and how far it is');
      expect(messages[0]).toMatchObject({ step: 'wait' });
      first.child.kill('SIGKILL');
      await once(first.child, 'exit');
      const image = await resolving;
      expect(messages.map(({ step }) => step)).toEqual(expect.arrayContaining(['build', 'kernel', 'rootfs', 'done']));
      expect(messages).toContainEqual(
        expect.objectContaining({ step: 'wait', message: expect.stringMatching(/^another program: (?!waiting)/) }),
      );
      expect(await readdir(join(cacheDir, 'building'))).toEqual([]);
      expect(await manager.prune()).toEqual([]);
      expect((await stat(image.rootfs.path)).size).toBeGreaterThan(100_000_000);
      expect(await processesNaming(cacheDir)).toEqual([]);
      const again = otherProgram(cacheDir);
      await once(again.child, 'exit');
      expect(again.progress).toEqual([{ step: 'resolved', message: image.digest }]);
    },
    BUILD_TIMEOUT_MS,
  );
});
