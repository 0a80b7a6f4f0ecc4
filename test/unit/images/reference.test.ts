import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { identityOf, parseReference } from '../../../ts/images/reference.js';

describe('parseReference', () => {
  it.each([
    ['oci:python:3.12', { kind: 'oci', name: 'oci:docker.io/library/python:3.12', fsType: 'squashfs' }],
    ['oci:a?fs=ext4', { kind: 'oci', name: 'oci:docker.io/library/a:latest?fs=ext4', fsType: 'ext4' }],
    ['./a?fs=ext4', { kind: 'directory', path: resolve('a'), name: `${resolve('a')}?fs=ext4`, fsType: 'ext4' }],
    ['debian', { kind: 'debian', name: 'debian', debian: { suite: 'bookworm', packages: [] } }],
    ['debian:bookworm', { kind: 'debian', name: 'debian' }],
    ['debian:trixie', { kind: 'debian', name: 'debian:trixie', debian: { suite: 'trixie' } }],
    [
      'debian?packages=git,g++,git,curl',
      { name: 'debian?packages=curl,g++,git', debian: { packages: ['curl', 'g++', 'git'] } },
    ],
    [
      'debian:sid?mirror=http://u:p@m.test/debian/&packages=git',
      { name: 'debian:sid?packages=git&mirror=http://m.test/debian', debian: { mirror: 'http://u:p@m.test/debian' } },
    ],
    ['latest', { kind: 'preset', preset: 'latest' }],
    ['lts', { kind: 'preset', preset: 'lts' }],
    ['./a/manifest.json', { kind: 'manifest', path: resolve('a/manifest.json') }],
    ['/srv/root', { kind: 'directory', path: '/srv/root', name: '/srv/root' }],
    ['..', { kind: 'directory', path: resolve('..') }],
    ['hosted:https://a.test/m.json', { kind: 'hosted', url: 'https://a.test/m.json' }],
  ])('reads %s', (text, expected) => {
    expect(parseReference(text)).toMatchObject(expected);
  });

  it('shows no secret of a URL, and still tells two of them apart', () => {
    const [a, b] = ['hosted:https://u:p@a.test/m.json?sig=1', 'hosted:https://u:p@a.test/m.json?sig=2'].map(
      parseReference,
    );
    expect(a?.name).toBe('hosted:https://a.test/m.json');
    expect(a?.name).toBe(b?.name);
    expect(a && identityOf(a)).not.toBe(b && identityOf(b));
  });

  it.each([
    '?packages=-rf',
    '?packages=git;id',
    '?mirror=file:///x',
    '?mirror=http://[',
    '?suite=sid',
    '?packages',
    ':sid?a=b',
  ])('refuses debian%s', (rest) => {
    expect(() => parseReference(`debian${rest}`)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });

  it.each([
    '',
    'debain',
    'debian:',
    'debian:../x',
    'debian:woody',
    'debianx',
    'oci:',
    'hosted:',
    'hosted:x',
    '__proto__',
    'a\nb',
    './a\0',
    '-rf',
  ])('refuses %j and says what there is', (text) => {
    expect(() => parseReference(text)).toThrow(
      expect.objectContaining({ code: 'IMAGE_UNKNOWN', message: expect.stringMatching(/debian/i) }),
    );
  });
});
