import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BaseImageManager } from '../../ts/images/base-image-manager.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { run } from '../../ts/util/run.js';
import { until } from '../support/leftovers.js';
import { type RangeServer, rangeServer } from '../support/range-server.js';
import { type ScratchDirectory, scratchDirectory } from '../support/scratch.js';
import { stopwatch } from '../support/stopwatch.js';

const DATA = randomBytes(8_000_000);
const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');
const SCRIPT = ['--import', 'tsx', join(PACKAGE_ROOT, 'test/fixtures/ensure-base-image.ts')];

let scratch: ScratchDirectory;
let server: RangeServer;
let manifests: RangeServer;

beforeEach(async () => {
  scratch = await scratchDirectory();
  server = await rangeServer(DATA);
  const artifact = { url: server.url('/artifact'), sha256: sha256(DATA) };
  manifests = await rangeServer(manifest({ kernel: artifact, rootfs: artifact }));
});

afterEach(async () => {
  await Promise.all([server, manifests].map((one) => one[Symbol.asyncDispose]()));
  await scratch[Symbol.asyncDispose]();
});

function manifest(changes: object): Buffer {
  const common = { schemaVersion: 1, bundleId: 'test', arch: 'x86_64', firecrackerVersion: 'v1.16.1' };
  return Buffer.from(JSON.stringify({ ...common, rootfsType: 'squashfs', ...changes }));
}

const ensure = () =>
  new BaseImageManager({ cacheDir: scratch.file('cache'), arch: 'x86_64' }).ensureBaseImage({
    manifestUrl: manifests.url('/m.json'),
  });

/** What stands in the cache for good. */
const kept = async () => (await readdir(scratch.file('cache'))).filter((name) => !/^\.(locks|users|parts)$/.test(name));
const parts = async () => (await readdir(scratch.file('cache', '.parts'))).filter((name) => !name.endsWith('.lock'));

/** Another program that wants the same. */
function otherProgram(): { child: ChildProcess; said: { step: string; [key: string]: unknown }[] } {
  const args = [...SCRIPT, scratch.file('cache'), manifests.url('/m.json')];
  const child = spawn(process.execPath, args, { cwd: PACKAGE_ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
  const said: { step: string }[] = [];
  createInterface({ input: child.stdout as Readable }).on('line', (line) => said.push(JSON.parse(line)));
  return { child, said };
}

const stuck = (_request: unknown, response: ServerResponse) => {
  response.writeHead(200, { 'content-length': DATA.length, etag: '"1"' });
  response.write(DATA.subarray(0, 5_000_000));
};

describe('a base image that is fetched', () => {
  it('is fetched once by two programs that want it at the same time', async () => {
    const programs = [otherProgram(), otherProgram()];
    await Promise.all(programs.map(({ child }) => once(child, 'exit')));
    expect(programs.map(({ said }) => said.at(-1)?.step)).toEqual(['resolved', 'resolved']);
    expect(programs[0]?.said.at(-1)?.createdAt).toBe(programs[1]?.said.at(-1)?.createdAt);
    expect(server.requests).toEqual(['GET /artifact', 'GET /artifact']); // kernel and root file system
    expect(await kept()).toEqual(['test']);
  });

  it('is fetched to its end by the one who waits when the fetching one is killed, from where that got to', async () => {
    server.next = stuck;
    const first = otherProgram();
    await until(() => first.said.some((line) => Number(line.receivedBytes) >= 5_000_000), 20_000, 'the first part');
    const second = otherProgram();
    await until(() => second.said.some((line) => line.receivedBytes !== undefined), 20_000, "the first one's progress");
    first.child.kill('SIGKILL');
    await once(second.child, 'exit');
    expect(second.said.at(-1)).toMatchObject({ step: 'resolved', bundleId: 'test' });
    expect(server.ranges[1]).toMatch(/^bytes=[1-9]\d*-$/);
    const { rootfsPath, kernelImagePath } = await ensure();
    expect([await readFile(rootfsPath), await readFile(kernelImagePath)].every((data) => DATA.equals(data))).toBe(true);
    expect(await kept()).toEqual(['test']);
    expect(await parts()).toEqual([]);
  });

  it('is fetched again when a byte of it has flipped in the cache', async () => {
    const { rootfsPath } = await ensure();
    const file = await open(rootfsPath, 'r+');
    await file.write(Buffer.from([(DATA[4_000_000] ?? 0) ^ 1]), 0, 1, 4_000_000);
    await file.close();
    const requests = server.requests.length;
    expect(DATA.equals(await readFile((await ensure()).rootfsPath))).toBe(true);
    expect(server.requests.length).toBeGreaterThan(requests);
  });

  const failing = (answer: (response: ServerResponse) => void) => (_request: unknown, response: ServerResponse) =>
    answer(response);
  it.each([
    ['other bytes', failing((response) => void response.end(Buffer.alloc(DATA.length))), 'DOWNLOAD_CORRUPT'],
    [
      'more than it may have',
      failing((response) => void response.writeHead(200, { 'content-length': 2 ** 50 }).end()),
      'DOWNLOAD_CORRUPT',
    ],
    ['a 206 that nobody asked for', failing((response) => void response.writeHead(206).end('x')), 'DOWNLOAD_FAILED'],
    ['a 404', failing((response) => void response.writeHead(404).end()), 'DOWNLOAD_FAILED'],
    [
      'a redirect to itself',
      failing((response) => void response.writeHead(302, { location: '/artifact' }).end()),
      'DOWNLOAD_REFUSED',
    ],
    [
      'a redirect to the metadata service, without https',
      failing((response) => void response.writeHead(302, { location: 'http://169.254.169.254/x' }).end()),
      'DOWNLOAD_REFUSED',
    ],
  ])('is not kept when the server answers with %s, and a retry works', async (_name, answer, reason) => {
    const again = (request: unknown, response: ServerResponse) => {
      server.next = again as RangeServer['next'];
      answer(request, response);
    };
    server.next = again as RangeServer['next'];
    await expect(ensure()).rejects.toMatchObject({ code: 'BASE_IMAGE_ARTIFACT_FAILED', details: { reason } });
    expect([await kept(), await parts()]).toEqual([[], []]);
    server.next = undefined;
    expect((await ensure()).bundleId).toBe('test');
  });

  it.runIf(process.getuid?.() === 0)('leaves nothing on a disk that is full, and a retry works', async () => {
    await mkdir(scratch.file('cache'), { mode: 0o700 });
    const script =
      'mount -t tmpfs -o size=4m,mode=700 small "$1" && shift && "$@"; echo; echo ---; ls -A "$D" "$D/.parts"';
    const command = [process.execPath, ...SCRIPT, scratch.file('cache'), manifests.url('/m.json')];
    const args = ['--mount', '--', 'sh', '-c', script, 'sh', scratch.file('cache'), ...command];
    const output = (
      await run('unshare', args, { cwd: PACKAGE_ROOT, env: { ...process.env, D: scratch.file('cache') } })
    ).toString();
    expect(output).toContain('"code":"FILE_WRITE_FAILED"');
    expect(output).toContain('ENOSPC');
    expect(output.slice(output.indexOf(scratch.file('cache', ':').replace('/:', ':')))).not.toMatch(
      /building|^test$|^[0-9a-f]{64}$/m,
    );
    expect((await ensure()).bundleId).toBe('test');
  });
});

describe('a manifest that is fetched', () => {
  const artifact = () => ({ url: server.url('/artifact'), sha256: sha256(DATA) });

  it('names what stands beside it by a relative path', async () => {
    const beside = { path: 'files/a b', sha256: sha256(DATA) };
    manifests.content = manifest({ kernel: artifact(), rootfs: beside });
    await expect(ensure()).rejects.toMatchObject({ details: { reason: 'DOWNLOAD_CORRUPT' } });
    expect(manifests.requests.at(-1)).toBe('GET /files/a%20b');
  });

  it.each([
    ['an absolute path', { path: '/etc/passwd', sha256: 'a'.repeat(64) }],
    ['a path that climbs', { path: '../x', sha256: 'a'.repeat(64) }],
    ['a relative path without a sha256', { path: 'x' }],
    ['a URL of a file', { url: 'file:///etc/passwd', sha256: 'a'.repeat(64) }],
  ])('cannot name %s', async (_name, kernel) => {
    manifests.content = manifest({ kernel, rootfs: artifact() });
    await expect(ensure()).rejects.toMatchObject({ code: 'INVALID_BASE_IMAGE_MANIFEST' });
    expect(await readdir(scratch.path)).toEqual([]);
  });

  it.each([
    ['larger than 1 MiB', Buffer.alloc(2 << 20, ' '), 'BASE_IMAGE_MANIFEST_FAILED'],
    ['nested 100,000 deep', Buffer.from('['.repeat(100_000) + ']'.repeat(100_000)), 'INVALID_BASE_IMAGE_MANIFEST'],
    ['of a prototype', Buffer.from('{"__proto__":{"schemaVersion":1}}'), 'INVALID_BASE_IMAGE_MANIFEST'],
    ['no JSON', Buffer.from('<html>'), 'INVALID_BASE_IMAGE_MANIFEST'],
  ])('is refused when it is %s', async (_name, content, code) => {
    manifests.content = content;
    await expect(ensure()).rejects.toMatchObject({ code });
    expect(await readdir(scratch.path)).toEqual([]);
  });

  it('of 1 GB on this host is refused without being read', async () => {
    await writeFile(scratch.file('m.json'), '');
    await run('truncate', ['--size=1G', scratch.file('m.json')]);
    const manager = new BaseImageManager({ cacheDir: scratch.file('cache') });
    const tookMs = stopwatch();
    await expect(manager.ensureBaseImage({ manifestPath: scratch.file('m.json') })).rejects.toMatchObject({
      code: 'BASE_IMAGE_MANIFEST_FAILED',
    });
    expect(tookMs()).toBeLessThan(1_000);
  });
});
