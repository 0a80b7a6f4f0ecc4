import { writeFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSmartVMError } from '../../../ts/errors.js';
import { checkHostedManifest, readHostedManifest } from '../../../ts/images/base-image-manifest.js';
import { run } from '../../../ts/util/run.js';
import { scratchDirectory } from '../../support/scratch.js';

const SHA = 'a'.repeat(64);
const VALID = {
  schemaVersion: 1,
  bundleId: 'bundle-1.0',
  arch: 'x86_64',
  firecrackerVersion: 'v1.15.1',
  rootfsType: 'ext4',
  kernel: { path: '/images/vmlinux', sha256: SHA, sizeBytes: 10 },
  rootfs: { path: 'rootfs/root.img' },
};

const check = (value: unknown) => checkHostedManifest(value, '/manifests', 'x86_64');

describe('checkHostedManifest', () => {
  it('fills in file names and makes relative paths absolute, from the folder of the manifest', () => {
    expect(check(VALID)).toEqual({
      ...VALID,
      kernel: { ...VALID.kernel, fileName: 'vmlinux' },
      rootfs: { path: '/manifests/rootfs/root.img', fileName: 'rootfs.ext4' },
    });
  });

  const kernel = (fields: object) => ({ ...VALID, kernel: { ...VALID.kernel, ...fields } });
  it.each([
    ['null', null],
    ['an array', []],
    ['a string', 'manifest'],
    ['another schema', { ...VALID, schemaVersion: 2 }],
    ['a schema that is a string', { ...VALID, schemaVersion: '1' }],
    ['no kernel', { ...VALID, kernel: undefined }],
    ['an id that climbs', { ...VALID, bundleId: '../x' }],
    ['an id that is a folder', { ...VALID, bundleId: '..' }],
    ['an id with a slash', { ...VALID, bundleId: 'a/b' }],
    ['an id that looks like an option', { ...VALID, bundleId: '-rf' }],
    ['a hidden id', { ...VALID, bundleId: '.git' }],
    ['an id with a newline', { ...VALID, bundleId: 'a\n' }],
    ['an id of 129 characters', { ...VALID, bundleId: 'a'.repeat(129) }],
    ['the other architecture', { ...VALID, arch: 'aarch64' }],
    ['an unknown root file system', { ...VALID, rootfsType: 'btrfs' }],
    ['boot args of two lines', { ...VALID, bootArgs: 'a\nb' }],
    ['a flag that is a string', { ...VALID, rootfsIsReadOnly: 'false' }],
    ['an unknown field', { ...VALID, sha265: SHA }],
    ['an unknown field of an artifact', kernel({ sha265: SHA })],
    ['neither path nor url', kernel({ path: undefined })],
    ['both path and url', kernel({ url: 'https://example.com/vmlinux' })],
    ['a url without a checksum', kernel({ path: undefined, url: 'https://example.com/vmlinux', sha256: undefined })],
    ['a url of files', kernel({ path: undefined, url: 'file:///etc/passwd' })],
    ['a path that climbs', kernel({ path: '../../etc/passwd' })],
    ['an absolute path that climbs', kernel({ path: '/images/../etc/passwd' })],
    ['a path with NUL', kernel({ path: '/images/vmlinux\0' })],
    ['an empty path', kernel({ path: '' })],
    ['a file name that climbs', kernel({ fileName: '../vmlinux' })],
    ['an absolute file name', kernel({ fileName: '/etc/passwd' })],
    ['the name of the cache manifest', kernel({ fileName: 'manifest.json' })],
    ['one name for both', kernel({ fileName: 'rootfs.ext4' })],
    ['a checksum that is short', kernel({ sha256: 'abc' })],
    ['a size of 0', kernel({ sizeBytes: 0 })],
    ['a size that is not whole', kernel({ sizeBytes: 1.5 })],
    ['__proto__', JSON.parse(`{ "__proto__": { "polluted": true }, ${JSON.stringify(VALID).slice(1)}`)],
    ['__proto__ in an artifact', { ...VALID, kernel: JSON.parse('{ "__proto__": { "path": "/images/vmlinux" } }') }],
  ])('refuses %s', (_name, value) => {
    expect(() => check(value)).toThrow(expect.objectContaining({ code: 'INVALID_BASE_IMAGE_MANIFEST' }));
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  it('takes or refuses any JSON value, and fails no other way', () => {
    const anything = fc.oneof(
      fc.jsonValue(),
      fc.record(
        Object.fromEntries(
          Object.keys(VALID).map((key) => [
            key,
            fc.oneof(fc.jsonValue(), fc.constant(VALID[key as keyof typeof VALID])),
          ]),
        ),
      ),
    );
    fc.assert(
      fc.property(anything, (value) => {
        try {
          check(value);
        } catch (error) {
          expect(isSmartVMError(error, 'INVALID_BASE_IMAGE_MANIFEST')).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('readHostedManifest', () => {
  const failing = (path: string, code: string) =>
    expect(() => readHostedManifest(path, 'x86_64')).toThrow(expect.objectContaining({ code }));

  it('refuses what is not a small regular file: nothing there, a folder, a FIFO nobody writes to, a device, a file of 1 GiB', async () => {
    await using scratch = await scratchDirectory();
    await run('mkfifo', [scratch.file('fifo')]);
    await run('truncate', ['--size=1G', scratch.file('huge')]);
    failing(scratch.file('none'), 'BASE_IMAGE_MANIFEST_FAILED');
    for (const path of [scratch.path, scratch.file('fifo'), '/dev/zero', scratch.file('huge')]) {
      failing(path, 'BASE_IMAGE_MANIFEST_FAILED');
    }
  });

  it('refuses text that is not JSON, and JSON nested 100,000 deep', async () => {
    await using scratch = await scratchDirectory();
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const deepField = JSON.stringify(VALID).replace('"x86_64"', `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`);
    for (const text of ['', '{', 'null', deep, deepField]) {
      await writeFile(scratch.file('m.json'), text);
      failing(scratch.file('m.json'), 'INVALID_BASE_IMAGE_MANIFEST');
    }
  });
});
