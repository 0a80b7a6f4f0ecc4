import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { mkdir, open, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type DownloadOptions, download } from '../../../ts/util/download.js';
import { PACKAGE_ROOT } from '../../../ts/util/package-root.js';
import { run } from '../../../ts/util/run.js';
import { until } from '../../support/leftovers.js';
import { type RangeServer, rangeServer } from '../../support/range-server.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

const DATA = randomBytes(4_000_000);
const SHA256 = createHash('sha256').update(DATA).digest('hex');

let scratch: ScratchDirectory;
let server: RangeServer;

beforeEach(async () => {
  scratch = await scratchDirectory();
  server = await rangeServer(DATA);
});

afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await scratch[Symbol.asyncDispose]();
});

const get = (options: Partial<DownloadOptions> = {}) =>
  download(server.url('/a.bin'), scratch.file('a.bin'), { maxBytes: 1 << 24, backoffMs: 1, ...options });

async function expectWhole(): Promise<void> {
  expect(DATA.equals(await readFile(scratch.file('a.bin')))).toBe(true);
  expect(await readdir(scratch.path)).toEqual(['a.bin']);
}

describe('a download whose connection breaks', () => {
  test('fetches the rest alone', async () => {
    server.cuts.push(1_500_000, 1_000_000);
    const seen: number[] = [];
    await get({ sha256: SHA256, onProgress: ({ receivedBytes }) => seen.push(receivedBytes) });
    await expectWhole();
    expect(server.ranges).toHaveLength(3);
    expect(server.ranges[0]).toBeUndefined();
    expect(server.ranges[1]).toMatch(/^bytes=[1-9]\d*-$/);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  test('fetches all of it anew when it is another by now', async () => {
    server.cuts.push(1_500_000);
    const old = randomBytes(4_000_000);
    server.content = old;
    await get({
      sha256: SHA256,
      onRetry: () => {
        server.content = DATA;
        server.etag = '"2"';
      },
    });
    await expectWhole();
    expect(server.ranges).toHaveLength(2);
  });

  test.each(['W/"1"', 'unquoted', undefined])('does so too where the ETag is %s', async (etag) => {
    server.next = (_request, response) => {
      response.writeHead(200, { 'content-length': DATA.length, ...(etag === undefined ? {} : { etag }) });
      response.write(DATA.subarray(0, 1_500_000), () => response.socket?.destroy());
    };
    await get({ sha256: SHA256 });
    await expectWhole();
    expect(server.ranges).toEqual([undefined, undefined]);
  });

  const rest = (headers: object, status = 206) =>
    ((_request: unknown, response: ServerResponse) =>
      response.writeHead(status, headers as never).end(DATA.subarray(0, 1000))) as RangeServer['next'];
  test.each([
    ['416', rest({}, 416)],
    ['another part', rest({ 'content-range': `bytes 0-3999999/4000000` })],
    ['a part of the rest', rest({ 'content-range': 'bytes 1000000-1000999/4000000' })],
    ['a part without its range', rest({})],
    ['a part of another version', rest({ 'content-range': 'bytes 1000000-3999999/4000000', etag: '"2"' })],
  ])('asks for all of it when it is answered with %s', async (_name, answer) => {
    server.cuts.push(1_000_000);
    const onRetry = (message: string) => {
      server.next = message.includes('rest was asked for') ? undefined : answer;
    };
    await get({ sha256: SHA256, onRetry });
    await expectWhole();
    expect(server.ranges).toEqual([undefined, expect.stringMatching(/^bytes=/), undefined]);
  });
});

describe('a part that another program left', () => {
  const part = () => scratch.file('part');

  /** Another program that is killed when some of it has come. */
  async function killed(): Promise<number> {
    server.next = (_request, response) => {
      response.writeHead(200, { 'content-length': DATA.length, etag: '"1"' });
      response.write(DATA.subarray(0, 2_500_000));
    };
    const script = join(PACKAGE_ROOT, 'test/fixtures/download.ts');
    const args = ['--import', 'tsx', script, server.url('/a.bin'), scratch.file('a.bin'), part()];
    const child = spawn(process.execPath, args, { cwd: PACKAGE_ROOT });
    const sizeOfPart = () => statSync(part(), { throwIfNoEntry: false })?.size ?? 0;
    await until(() => sizeOfPart() >= 1 << 20, 20_000, 'the first part');
    child.kill('SIGKILL');
    await once(child, 'exit');
    return sizeOfPart();
  }

  test('is gone on with', async () => {
    const size = await killed();
    expect((await readdir(scratch.path)).sort()).toEqual(['part', 'part.json']);
    await get({ sha256: SHA256, partPath: part() });
    await expectWhole();
    expect(server.ranges.at(-1)).toBe(`bytes=${size}-`);
  });

  test('is thrown away when a byte of it has flipped, and all is fetched anew', async () => {
    await killed();
    const file = await open(part(), 'r+');
    await file.write(Buffer.from([(DATA[1_000_000] ?? 0) ^ 1]), 0, 1, 1_000_000);
    await file.close();
    await get({ sha256: SHA256, partPath: part() });
    await expectWhole();
    expect(server.ranges.at(-1)).toBeUndefined();
  });

  test('is not that of another URL', async () => {
    await killed();
    await download(server.url('/b.bin'), scratch.file('a.bin'), { maxBytes: 1 << 24, partPath: part() });
    await expectWhole();
    expect(server.ranges.at(-1)).toBeUndefined();
  });

  test.each(['link', 'fifo', 'directory'])('is not a planted %s', async (kind) => {
    await killed();
    await run('rm', [part()]);
    await writeFile(scratch.file('victim'), 'mine');
    const plant = {
      link: () => symlink(scratch.file('victim'), part()),
      fifo: () => run('mkfifo', [part()]),
      directory: () => mkdir(part()),
    };
    await plant[kind as 'link']();
    await get({ sha256: SHA256, partPath: part() });
    expect(await readFile(scratch.file('victim'), 'utf8')).toBe('mine');
    await run('rm', [scratch.file('victim')]);
    await expectWhole();
  });

  test('is kept by a call that is canceled, and by no other failure', async () => {
    const abort = new AbortController();
    server.next = (_request, response) => {
      response.writeHead(200, { 'content-length': DATA.length, etag: '"1"' });
      response.write(DATA.subarray(0, 1_000_000), () => setTimeout(() => abort.abort(), 50));
    };
    await expect(get({ partPath: part(), signal: abort.signal })).rejects.toMatchObject({ code: 'CANCELED' });
    expect((await readdir(scratch.path)).sort()).toEqual(['part', 'part.json']);
    await expect(get({ partPath: part(), sha256: '0'.repeat(64) })).rejects.toMatchObject({ code: 'DOWNLOAD_CORRUPT' });
    expect(await readdir(scratch.path)).toEqual([]);
  });
});
