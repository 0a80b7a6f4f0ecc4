import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { run } from '../../ts/util/run.js';

const CACHE = join(PACKAGE_ROOT, 'node_modules/.cache/smartvm-test');

/**
 * A folder with the files of a Debian package that is fetched with apt and not installed: installing it would replace another
 * package, or start a service.
 */
export async function debianPackage(name: string): Promise<string> {
  const folder = join(CACHE, name);
  if (existsSync(folder)) {
    return folder;
  }
  await mkdir(CACHE, { recursive: true });
  const temporary = await mkdtemp(join(CACHE, 'tmp-'));
  try {
    const fetch = () => run('apt-get', ['-qq', 'download', name], { cwd: temporary });
    await fetch().catch(async () => {
      await run('apt-get', ['-qq', 'update']);
      await fetch();
    });
    const [file = ''] = await readdir(temporary);
    await run('dpkg-deb', ['--extract', join(temporary, file), join(temporary, 'files')]);
    await rename(join(temporary, 'files'), folder).catch(() => undefined); // another run was faster
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return folder;
}
