import { chmod, open, readdir, readFile, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { ImageManager } from '../../../ts/images/image-manager.js';
import { scratchDirectory } from '../../support/scratch.js';

describe('ImageManager.cloneRootfs', () => {
  it('makes a sparse copy that its owner alone can write to', async () => {
    await using scratch = await scratchDirectory();
    await writeFile(scratch.file('root'), 'content');
    await truncate(scratch.file('root'), 2 ** 30);
    await chmod(scratch.file('root'), 0o444);
    await new ImageManager({ cacheDir: scratch.file('c') }).cloneRootfs(scratch.file('root'), scratch.file('copy'));
    const { size, mode, blocks } = await stat(scratch.file('copy'));
    expect({ size, mode: mode & 0o777 }).toEqual({ size: 2 ** 30, mode: 0o600 });
    expect(blocks * 512).toBeLessThan(1 << 20);
    await using file = await open(scratch.file('copy'));
    expect((await file.read(Buffer.alloc(7), 0, 7, 0)).buffer.toString()).toBe('content');
  });

  it('refuses a target that is there, a link too, and leaves nothing of a source that is not', async () => {
    await using scratch = await scratchDirectory();
    const images = new ImageManager({ cacheDir: scratch.file('c') });
    await writeFile(scratch.file('victim'), 'mine');
    await symlink(scratch.file('victim'), scratch.file('link'));
    for (const name of ['victim', 'link']) {
      const cloning = images.cloneRootfs(scratch.file('victim'), scratch.file(name));
      await expect(cloning).rejects.toMatchObject({ code: 'FILE_WRITE_FAILED' });
    }
    const missing = images.cloneRootfs(scratch.file('none'), scratch.file('copy'));
    await expect(missing).rejects.toMatchObject({ code: 'TOOL_FAILED' });
    expect((await readdir(scratch.path)).sort()).toEqual(['link', 'victim']);
    expect(await readFile(scratch.file('victim'), 'utf8')).toBe('mine');
  });
});
