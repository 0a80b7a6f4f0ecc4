import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { archivesOf, debianSources } from '../../../ts/images/apt-sources.js';
import { scratchDirectory } from '../../support/scratch.js';

const SIGNED = '[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]';

async function sourcesOf(
  files: Record<string, string>,
  image: Parameters<typeof debianSources>[0] = { suite: 'bookworm' },
): Promise<string[]> {
  await using scratch = await scratchDirectory();
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(scratch.file(name)), { recursive: true });
    await writeFile(scratch.file(name), text);
  }
  return (await debianSources(image, scratch.path)).trimEnd().split('\n');
}

afterEach(() => vi.unstubAllEnvs());

describe('debianSources', () => {
  it("takes a bookworm host's own mirrors, in either style", async () => {
    const deb822 = [
      '# a comment',
      'Types: deb deb-src',
      'URIs: http://mirror.example/debian',
      'Suites: bookworm bookworm-updates',
      'Components: main contrib',
      'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg',
      '',
      'Types: deb',
      'URIs: https://mirror.example/debian-security',
      'Suites:',
      ' bookworm-security',
      'Components: main',
    ];
    expect(await sourcesOf({ 'sources.list.d/debian.sources': deb822.join('\n') })).toEqual([
      `deb ${SIGNED} http://mirror.example/debian bookworm main`,
      `deb ${SIGNED} http://mirror.example/debian bookworm-updates main`,
      `deb ${SIGNED} https://mirror.example/debian-security bookworm-security main`,
    ]);
    const oneLine =
      '# deb http://old.example/debian bookworm main\ndeb [arch=amd64] http://m.example/debian bookworm main non-free\n';
    expect(await sourcesOf({ 'sources.list': oneLine })).toEqual([
      `deb ${SIGNED} http://m.example/debian bookworm main`,
    ]);
  });

  it("leaves a vendor's repository for the same suite alone", async () => {
    const lists = {
      'sources.list': 'deb http://m.example/debian bookworm main\n',
      'sources.list.d/docker.list':
        'deb [signed-by=/etc/apt/keyrings/docker.asc] https://docker.example bookworm stable\n',
      'sources.list.d/vendor.list':
        'deb [signed-by=/usr/share/keyrings/vendor.gpg] https://vendor.example bookworm main\n',
      'sources.list.d/off.sources':
        'Enabled: no\nTypes: deb\nURIs: http://off.example\nSuites: bookworm\nComponents: main\n',
    };
    expect(await sourcesOf(lists)).toEqual([`deb ${SIGNED} http://m.example/debian bookworm main`]);
  });

  it.each([
    ['no sources', {}],
    ['another release', { 'sources.list': 'deb http://archive.ubuntu.com/ubuntu noble main\n' }],
    ['only the security suite', { 'sources.list': 'deb http://m.example/debian-security bookworm-security main\n' }],
    ['a mirror that is not HTTP', { 'sources.list': 'deb cdrom:[Debian]/ bookworm main\n' }],
  ])('takes deb.debian.org where the host has %s', async (_name, files) => {
    expect(await sourcesOf(files)).toEqual([
      `deb ${SIGNED} http://deb.debian.org/debian bookworm main`,
      `deb ${SIGNED} http://deb.debian.org/debian bookworm-updates main`,
      `deb ${SIGNED} http://deb.debian.org/debian-security bookworm-security main`,
    ]);
  });

  const HOST = { 'sources.list': 'deb http://host.example/debian trixie main\n' };
  const line = (uri: string, suite: string) => `deb ${SIGNED} ${uri} ${suite} main`;

  it('takes the mirror that is named, with the archive of security updates beside it', async () => {
    const mirror = 'http://snapshot.example/archive/debian/20260101T000000Z';
    expect(await sourcesOf(HOST, { suite: 'trixie', mirror })).toEqual([
      line(mirror, 'trixie'),
      line(mirror, 'trixie-updates'),
      line('http://snapshot.example/archive/debian-security/20260101T000000Z', 'trixie-security'),
    ]);
    expect((await sourcesOf(HOST, { suite: 'trixie', mirror: 'http://m.example/os' }))[2]).toBe(
      line('http://deb.debian.org/debian-security', 'trixie-security'),
    );
    expect(await sourcesOf({}, { suite: 'sid' })).toEqual([line('http://deb.debian.org/debian', 'sid')]);
  });

  it('takes the mirror of SMARTVM_DEBIAN_MIRROR for an image that names none', async () => {
    vi.stubEnv('SMARTVM_DEBIAN_MIRROR', 'http://env.example/debian/');
    expect((await sourcesOf(HOST, { suite: 'trixie' }))[0]).toBe(line('http://env.example/debian', 'trixie'));
    const mirror = 'http://own.example/debian';
    expect((await sourcesOf(HOST, { suite: 'trixie', mirror }))[0]).toBe(line(mirror, 'trixie'));
    vi.stubEnv('SMARTVM_DEBIAN_MIRROR', 'file:///srv');
    await expect(sourcesOf(HOST)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  it("takes the host's own mirrors for the host's suite alone", async () => {
    expect(await sourcesOf(HOST, { suite: 'trixie' })).toEqual([line('http://host.example/debian', 'trixie')]);
    expect((await sourcesOf(HOST, { suite: 'bookworm' }))[0]).toBe(line('http://deb.debian.org/debian', 'bookworm'));
  });

  it('is told without what may be secret', () => {
    const text = `${line('http://user:secret@m.example/debian', 'sid')}\n`;
    expect(archivesOf(text)).toEqual(['http://m.example/debian sid']);
  });
});
