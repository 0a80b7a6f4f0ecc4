import { readdir, readFile, rm } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BaseImageManager } from '../../../ts/images/base-image-manager.js';
import type { IBaseImageManagerOptions } from '../../../ts/images/base-image-types.js';
import { artifactServer } from '../../support/artifact-server.js';
import { type CiBucket, ciBucket } from '../../support/ci-bucket.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

const NEWEST = 'firecracker-ci/20260923-6f82ac4cf331-0';
const OLDER = 'firecracker-ci/20260708-f11c230ed107-0';
const TRAIN = 'firecracker-ci/v1.12';

/** As the bucket has them: dated builds, trains, debug kernels, configs, keys, other architectures. */
const KEYS = [
  ...['5.10.245', '6.1.182', '6.1.99', '6.18.48', '6.18.9'].flatMap((version) => [
    `${NEWEST}/x86_64/vmlinux-${version}`,
    `${NEWEST}/x86_64/vmlinux-${version}.config`,
    `${NEWEST}/x86_64/debug/vmlinux-${version}`,
    `${NEWEST}/aarch64/vmlinux-${version}`,
  ]),
  `${NEWEST}/x86_64/vmlinux-5.10.245-no-acpi`,
  `${NEWEST}/x86_64/vmlinux-99.0.0.debug`,
  `${NEWEST}/x86_64/ubuntu-24.04.squashfs`,
  `${NEWEST}/x86_64/ubuntu-24.04.manifest`,
  `${NEWEST}/aarch64/ubuntu-24.04.squashfs`,
  `${OLDER}/x86_64/vmlinux-6.1.176`,
  `${OLDER}/x86_64/ubuntu-24.04.squashfs`,
  `${TRAIN}/x86_64/vmlinux-6.1.128`,
  `${TRAIN}/x86_64/vmlinux-5.10.233`,
  `${TRAIN}/x86_64/ubuntu-24.04.ext4`,
  `${TRAIN}/x86_64/ubuntu-24.04.id_rsa`,
  `${TRAIN}/x86_64/ubuntu-22.04.squashfs`,
  'firecracker-ci/v1.9/x86_64/vmlinux-6.1.102',
  'firecracker-ci/v1.9/x86_64/ubuntu-22.04.ext4',
  'firecracker-ci/v1.11-pcie-poc/x86_64/vmlinux-6.1.130',
  'firecracker-ci/firecracker/v1.16.1/firecracker-v1.16.1-x86_64.tgz',
];

let scratch: ScratchDirectory;
let bucket: CiBucket;

beforeEach(async () => {
  scratch = await scratchDirectory();
  bucket = await ciBucket(KEYS);
});

afterEach(async () => {
  vi.restoreAllMocks();
  await bucket[Symbol.asyncDispose]();
  await scratch[Symbol.asyncDispose]();
});

const manager = (options: IBaseImageManagerOptions = {}) =>
  new BaseImageManager({ cacheDir: scratch.file('cache'), arch: 'x86_64', bucketUrl: bucket.bucketUrl, ...options });

describe('the presets of the CI bucket', () => {
  it('latest: the highest kernel of the newest build, over several pages of its listing', async () => {
    const bundle = await manager().ensureBaseImage();
    expect(bundle).toMatchObject({
      preset: 'latest',
      ciVersion: '20260923-6f82ac4cf331-0',
      firecrackerVersion: 'latest',
      rootfsType: 'squashfs',
      rootfsIsReadOnly: true,
      source: {
        type: 'ci-bucket',
        bucketUrl: bucket.bucketUrl,
        kernelKey: `${NEWEST}/x86_64/vmlinux-6.18.48`,
        rootfsKey: `${NEWEST}/x86_64/ubuntu-24.04.squashfs`,
      },
    });
    expect(await readFile(bundle.kernelImagePath, 'utf8')).toBe(`the content of ${NEWEST}/x86_64/vmlinux-6.18.48`);
    expect(bucket.requests.filter((request) => request.includes('continuation-token')).length).toBeGreaterThan(3);
  });

  it('lts: the highest kernel of the long-term series', async () => {
    const { source, preset } = await manager().ensureBaseImage({ preset: 'lts' });
    expect({ preset, key: source.kernelKey }).toEqual({ preset: 'lts', key: `${NEWEST}/x86_64/vmlinux-6.1.182` });
  });

  it('one build alone, and the type of root file system that is asked for', async () => {
    const train = await manager({ ciVersion: 'v1.12' }).ensureBaseImage();
    expect(train).toMatchObject({ ciVersion: 'v1.12', firecrackerVersion: 'v1.12', rootfsType: 'ext4' });
    expect(train.source.kernelKey).toBe(`${TRAIN}/x86_64/vmlinux-6.1.128`);
    const squashfs = await manager({ ciVersion: 'v1.12', rootfsType: 'squashfs' }).ensureBaseImage();
    expect(squashfs.source.rootfsKey).toBe(`${TRAIN}/x86_64/ubuntu-22.04.squashfs`);
  });

  it('passes over builds that lack what is wanted: ext4 is in the newest train, by number', async () => {
    const { ciVersion } = await manager({ rootfsType: 'ext4' }).ensureBaseImage();
    expect(ciVersion).toBe('v1.12');
  });

  it('the other architecture', async () => {
    const { source } = await manager({ arch: 'aarch64' }).ensureBaseImage({ preset: 'lts' });
    expect(source.kernelKey).toBe(`${NEWEST}/aarch64/vmlinux-6.1.182`);
  });

  it('asks nobody within a day; looks again when that is over; stays what it was without a network', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    const first = await manager().ensureBaseImage();
    bucket.requests.length = 0;
    expect((await manager().ensureBaseImage()).createdAt).toBe(first.createdAt);
    expect(bucket.requests).toEqual([]);
    bucket.objects.set(`${NEWEST}/x86_64/vmlinux-6.18.50`, Buffer.from('newer'));
    const second = await manager({ presetMaxAgeMs: 0 }).ensureBaseImage();
    expect(second.source.kernelKey).toBe(`${NEWEST}/x86_64/vmlinux-6.18.50`);
    bucket.objects.clear();
    const third = await manager({ presetMaxAgeMs: 0 }).ensureBaseImage();
    expect(third.createdAt).toBe(second.createdAt);
    expect(warn).toHaveBeenCalledOnce();
  });

  it('says what it looked for where there is none', async () => {
    await expect(manager({ ciVersion: 'v9.9' }).ensureBaseImage()).rejects.toMatchObject({
      code: 'BASE_IMAGE_ARTIFACT_FAILED',
      message: expect.stringMatching(/latest, x86_64, v9\.9.*builds looked at: v9\.9/),
    });
    expect(await readdir(scratch.path)).toEqual([]);
  });

  it('looks again at once when what was found is gone or has been replaced', async () => {
    const { bundleDir } = await manager().ensureBaseImage();
    await rm(bundleDir, { recursive: true });
    bucket.objects.set(`${NEWEST}/x86_64/ubuntu-24.04.squashfs`, Buffer.from('another build of it'));
    const replaced = await manager().ensureBaseImage();
    expect(await readFile(replaced.rootfsPath, 'utf8')).toBe('another build of it');
    await rm(bundleDir, { recursive: true });
    bucket.objects.delete(`${NEWEST}/x86_64/vmlinux-6.18.48`);
    expect((await manager().ensureBaseImage()).source.kernelKey).toBe(`${NEWEST}/x86_64/vmlinux-6.18.9`);
  });

  it.each([
    ['no XML', 'hello'],
    ['XML of something else', '<Error><Code>AccessDenied</Code></Error>'],
    ['entities of its own', '<!DOCTYPE x [<!ENTITY a "aaaa">]><ListBucketResult></ListBucketResult>'],
    [
      'an endless listing',
      '<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken></ListBucketResult>',
    ],
    [
      'keys that climb',
      `<ListBucketResult><CommonPrefixes><Prefix>firecracker-ci/../</Prefix></CommonPrefixes></ListBucketResult>`,
    ],
  ])('refuses a listing that is %s', async (_name, xml) => {
    await using server = await artifactServer((_request, response) => void response.end(xml));
    await expect(manager({ bucketUrl: server.url('/b') }).ensureBaseImage()).rejects.toMatchObject({
      code: 'BASE_IMAGE_ARTIFACT_FAILED',
    });
  });

  it.each(['', '<Size>1e300</Size>', '<Size>999999999999999</Size>'])(
    'fetches nothing without an end where the listing has %j for its size',
    async (size) => {
      let sent = 0;
      const keys = [`${NEWEST}/x86_64/vmlinux-6.1.1`, `${NEWEST}/x86_64/ubuntu-24.04.squashfs`];
      const contents = keys.map((key) => `<Contents><Key>${key}</Key>${size}<ETag>"a"</ETag></Contents>`).join('');
      const folders = `<CommonPrefixes><Prefix>${NEWEST}/</Prefix></CommonPrefixes>`;
      await using server = await artifactServer((request, response) => {
        if (request.url?.includes('list-type=2')) {
          const entries = request.url.includes('delimiter') ? folders : contents;
          response.end(`<ListBucketResult>${entries}</ListBucketResult>`);
          return;
        }
        response.writeHead(200, { etag: '"a"' });
        const send = () => {
          for (sent += 65_536; sent <= 64 << 20 && response.write(Buffer.alloc(65_536)); sent += 65_536);
        };
        response.on('drain', send);
        send();
      });
      await expect(manager({ bucketUrl: server.url('/b') }).ensureBaseImage()).rejects.toMatchObject({
        code: 'BASE_IMAGE_ARTIFACT_FAILED',
      });
      expect(sent).toBeLessThan(8 << 20);
    },
  );

  it('takes no object that it did not ask for', async () => {
    const prefix = `${NEWEST}/x86_64/`;
    const climbing = `../other/`.padEnd(prefix.length, '/');
    const keys = ['vmlinux-6.1.1', 'ubuntu-24.04.squashfs'].map((name) => climbing + name);
    const contents = keys.map((key) => `<Contents><Key>${key}</Key><Size>1</Size></Contents>`).join('');
    const requests: string[] = [];
    await using server = await artifactServer((request, response) => {
      requests.push(request.url ?? '');
      response.end(`<ListBucketResult>${contents}</ListBucketResult>`);
    });
    const one = manager({ bucketUrl: server.url('/b'), ciVersion: NEWEST.slice(NEWEST.indexOf('/') + 1) });
    await expect(one.ensureBaseImage()).rejects.toMatchObject({ code: 'BASE_IMAGE_ARTIFACT_FAILED' });
    expect(requests.filter((url) => !url.includes('list-type=2'))).toEqual([]);
  });
});
