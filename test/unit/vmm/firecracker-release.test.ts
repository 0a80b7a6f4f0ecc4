import { createHash } from 'node:crypto';
import { appendFile, chmod, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fetchRelease, installedRelease, latestVersion, releasesUrl } from '../../../ts/vmm/firecracker-release.js';
import { hostArch } from '../../../ts/vmm/host.js';
import { newestFirecracker } from '../../../ts/vmm/release-files.js';
import { artifactServer } from '../../support/artifact-server.js';
import { type FakeRelease, printer, releaseServer } from '../../support/fake-release.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

const VERSION = '1.16.1';
const name = (program: string, version = VERSION) => `${program}-v${version}-${hostArch()}`;

let scratch: ScratchDirectory;
let folder: string;

beforeEach(async () => {
  scratch = await scratchDirectory();
  folder = scratch.file('bin');
});

afterEach(() => scratch[Symbol.asyncDispose]());

/** How fetching a release fails, once it is certain that it left nothing. */
async function failure(release: Partial<FakeRelease>): Promise<string> {
  await using server = await releaseServer(scratch, { version: VERSION, ...release });
  const error = await fetchRelease(folder, VERSION, { mirror: server.url('') }).catch((reason: unknown) => reason);
  expect(await readdir(folder)).toEqual(['.lock']);
  expect(await readdir(scratch.path)).toEqual(['bin']);
  const { code, message } = error as { code: string; message: string };
  return `${code}: ${message}`;
}

describe('fetchRelease', () => {
  test('brings both programs, and what they were', async () => {
    await using server = await releaseServer(scratch, { version: VERSION });
    const seen: number[] = [];
    const onProgress = ({ receivedBytes }: { receivedBytes: number }) => void seen.push(receivedBytes);
    const release = await fetchRelease(folder, VERSION, { mirror: server.url('/'), onProgress });
    expect((await readdir(folder)).sort()).toEqual(
      ['.lock', name('firecracker'), `${name('firecracker')}.json`, name('jailer')].sort(),
    );
    for (const [program, title] of [
      ['firecracker', 'Firecracker'],
      ['jailer', 'Jailer'],
    ] as const) {
      const path = `${folder}/${name(program)}`;
      expect((await stat(path)).mode & 0o777).toBe(0o755);
      expect(await readFile(path, 'utf8')).toBe(printer(title, VERSION));
      expect(release.sha256[program]).toBe(createHash('sha256').update(printer(title, VERSION)).digest('hex'));
    }
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    expect(seen.at(-1)).toBeGreaterThan(0);
    expect(newestFirecracker(folder)).toEqual({ version: VERSION, path: `${folder}/${name('firecracker')}` });
    expect(await installedRelease(folder, VERSION)).toEqual(release);
  });

  test('does nothing when it is there, and mends it when it has changed', async () => {
    await using server = await releaseServer(scratch, { version: VERSION });
    const options = { mirror: server.url('') };
    const first = await fetchRelease(folder, VERSION, options);
    server.requests.length = 0;
    expect(await fetchRelease(folder, VERSION, options)).toEqual(first);
    expect(server.requests).toEqual([]);
    await appendFile(`${folder}/${name('jailer')}`, '# changed\n');
    expect(await installedRelease(folder, VERSION)).toBeUndefined();
    expect(await fetchRelease(folder, VERSION, options)).toEqual(first);
    await rm(`${folder}/${name('firecracker')}`);
    expect(await installedRelease(folder, VERSION)).toBeUndefined();
  });

  test('of several programs at once one fetches', async () => {
    await using server = await releaseServer(scratch, { version: VERSION });
    const options = { mirror: server.url('') };
    const releases = await Promise.all([1, 2, 3].map(() => fetchRelease(folder, VERSION, options)));
    expect(releases[1]).toEqual(releases[0]);
    expect(server.requests).toHaveLength(2);
  });

  test('takes away what a killed one left', async () => {
    await mkdir(`${folder}/.staging-1`, { recursive: true, mode: 0o700 });
    await writeFile(`${folder}/.staging-1/release.tgz`, 'half');
    await using server = await releaseServer(scratch, { version: VERSION });
    await fetchRelease(folder, VERSION, { mirror: server.url('') });
    expect(await readdir(folder)).not.toContain('.staging-1');
  });

  test('a release that there is not', async () => {
    await using server = await releaseServer(scratch, { version: '1.0.0' });
    await expect(fetchRelease(folder, VERSION, { mirror: server.url('') })).rejects.toMatchObject({
      code: 'DOWNLOAD_FAILED',
      message: expect.stringMatching(/there is no release 1\.16\.1 of Firecracker for /),
    });
  });

  test('another sha256 than the published one', async () => {
    expect(await failure({ sha256: 'ab'.repeat(32) })).toMatch(/^DOWNLOAD_CORRUPT/);
  });

  test('a program of another version', async () => {
    expect(await failure({ prints: { jailer: '1.14.0' } })).toMatch(
      /^RELEASE_INVALID: .*jailer.* says that it is 1\.14\.0/,
    );
    expect(await failure({ prints: { firecracker: 'x' } })).toMatch(
      /^RELEASE_INVALID: .*firecracker.* says that it is unknown/,
    );
  });

  test.each<[string, (folder: string) => Promise<unknown>]>([
    ['without a jailer', (path) => rm(`${path}/${name('jailer')}`)],
    [
      'with a link for a jailer',
      async (path) => {
        await rm(`${path}/${name('jailer')}`);
        await symlink('/bin/true', `${path}/${name('jailer')}`);
      },
    ],
    [
      'with a folder for a jailer',
      async (path) => {
        await rm(`${path}/${name('jailer')}`);
        await mkdir(`${path}/${name('jailer')}`);
        await writeFile(`${path}/${name('jailer')}/x`, 'x');
      },
    ],
    [
      'with a jailer that does not run',
      async (path) => {
        await writeFile(`${path}/${name('jailer')}`, '#!/bin/sh\nexit 3\n');
        await chmod(`${path}/${name('jailer')}`, 0o755);
      },
    ],
    ['with an empty jailer', (path) => writeFile(`${path}/${name('jailer')}`, '')],
  ])('an archive %s', async (_what, spoil) => {
    expect(await failure({ spoil })).toMatch(/^RELEASE_INVALID: .*jailer-v1\.16\.1/);
  });

  test('what is no archive', async () => {
    const sha256 = createHash('sha256').update('no archive').digest('hex');
    await using server = await artifactServer((request, response) => {
      response.end(request.url?.endsWith('.txt') ? sha256 : 'no archive');
    });
    await expect(fetchRelease(folder, VERSION, { mirror: server.url('') })).rejects.toMatchObject({
      code: 'RELEASE_INVALID',
    });
    expect(await readdir(folder)).toEqual(['.lock']);
  });

  test('is canceled', async () => {
    await using server = await releaseServer(scratch, { version: VERSION });
    const abort = new AbortController();
    const options = { mirror: server.url(''), signal: abort.signal, onProgress: () => abort.abort() };
    await expect(fetchRelease(folder, VERSION, options)).rejects.toMatchObject({ code: 'CANCELED' });
    expect(await readdir(folder)).toEqual(['.lock']);
  });
});

describe('the releases', () => {
  test('the latest is where the server redirects to', async () => {
    await using server = await releaseServer(scratch, { version: '1.99.10' }, { version: VERSION });
    expect(await latestVersion({ mirror: server.url('') })).toBe('1.99.10');
  });

  test('a server that redirects elsewhere', async () => {
    await using server = await artifactServer(
      (_request, response) => void response.writeHead(302, { location: '/login' }).end(),
    );
    await expect(latestVersion({ mirror: server.url('') })).rejects.toMatchObject({ code: 'RELEASE_INVALID' });
  });

  test('come from GitHub unless a mirror is named', () => {
    expect(releasesUrl()).toBe('https://github.com/firecracker-microvm/firecracker/releases');
    expect(releasesUrl('https://mirror.example/fc/')).toBe('https://mirror.example/fc');
  });
});
