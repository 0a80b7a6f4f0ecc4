import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type DownloadOptions, download, fetchChecksum, fetchText, redirectTarget } from '../../../ts/util/download.js';
import { type ArtifactServer, artifactServer } from '../../support/artifact-server.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

const DATA = randomBytes(300_000);
const SHA256 = createHash('sha256').update(DATA).digest('hex');

let scratch: ScratchDirectory;
let server: ArtifactServer;
/** What the next answers are, the last of them for ever. */
let answers: ((response: ServerResponse) => void)[] = [];

const whole = (response: ServerResponse) => void response.writeHead(200, { 'content-length': DATA.length }).end(DATA);
const status =
  (code: number, headers = {}) =>
  (response: ServerResponse) =>
    void response.writeHead(code, headers).end('x');
const get = (options: Partial<DownloadOptions> = {}) =>
  download(server.url('/a.bin'), scratch.file('a.bin'), { maxBytes: 1 << 20, backoffMs: 1, ...options });

beforeEach(async () => {
  scratch = await scratchDirectory();
  answers = [whole];
  server = await artifactServer((_request, response) =>
    (answers.length > 1 ? answers.shift() : answers[0])?.(response),
  );
});

afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await scratch[Symbol.asyncDispose]();
});

/** The failure's code and message, once it is certain that it left nothing. */
async function failure(options: Partial<DownloadOptions> = {}): Promise<string> {
  const error = await get(options).catch((reason: unknown) => reason);
  expect(await readdir(scratch.path)).toEqual([]);
  const { code, message } = error as { code: string; message: string };
  return `${code}: ${message}`;
}

describe('download', () => {
  test('brings the whole file, with its progress, as 0600', async () => {
    const seen: number[] = [];
    const onProgress: DownloadOptions['onProgress'] = ({ receivedBytes, totalBytes }) => {
      expect(totalBytes).toBe(DATA.length);
      seen.push(receivedBytes);
    };
    const result = await get({ sha256: SHA256.toUpperCase(), sizeBytes: DATA.length, onProgress });
    expect(result).toEqual({
      path: scratch.file('a.bin'),
      sizeBytes: DATA.length,
      sha256: SHA256,
      url: server.url('/a.bin'),
    });
    expect(DATA.equals(await readFile(scratch.file('a.bin')))).toBe(true);
    expect((await stat(scratch.file('a.bin'))).mode & 0o777).toBe(0o600);
    expect([seen[0], seen.at(-1)]).toEqual([0, DATA.length]);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(await readdir(scratch.path)).toEqual(['a.bin']);
  });

  test('takes a body without a length, and a mode', async () => {
    answers = [(response) => void response.end(DATA)];
    await get({ sha256: SHA256, mode: 0o755 });
    expect((await stat(scratch.file('a.bin'))).mode & 0o777).toBe(0o755);
  });

  test('replaces what is there only when all is well', async () => {
    await writeFile(scratch.file('a.bin'), 'old');
    await expect(get({ sha256: '0'.repeat(64) })).rejects.toMatchObject({ code: 'DOWNLOAD_CORRUPT' });
    expect(await readFile(scratch.file('a.bin'), 'utf8')).toBe('old');
    await get({ sha256: SHA256 });
    expect(DATA.equals(await readFile(scratch.file('a.bin')))).toBe(true);
    expect(await readdir(scratch.path)).toEqual(['a.bin']);
  });

  test('refuses another sha256, and says both', async () => {
    const message = await failure({ sha256: 'ab'.repeat(32) });
    expect(message).toMatch(`DOWNLOAD_CORRUPT: ${server.url('/a.bin')} `);
    expect(message).toMatch(`its sha256 is ${SHA256}, not ${'ab'.repeat(32)}`);
    expect(server.requests).toHaveLength(1);
  });

  test('refuses another size, before any of it is taken', async () => {
    expect(await failure({ sizeBytes: 7 })).toMatch(/^DOWNLOAD_CORRUPT: .* has 300000 bytes, not 7/);
    expect(await failure({ maxBytes: 1000 })).toMatch(/^DOWNLOAD_CORRUPT: .*over the limit of 1000/);
  });

  test('ends what does not end by itself', async () => {
    answers = [
      (response) => {
        const more = () => void (response.writable && response.write(DATA, more));
        response.on('error', () => undefined);
        more();
      },
    ];
    expect(await failure()).toMatch(/^DOWNLOAD_CORRUPT: .*more than the 1048576 bytes/);
    expect(await failure({ sizeBytes: 5000 })).toMatch(/^DOWNLOAD_CORRUPT: .*more than the 5000 bytes/);
  });

  test('refuses a body without a length that is too short', async () => {
    answers = [(response) => void response.end('short')];
    expect(await failure({ sizeBytes: DATA.length })).toMatch(/^DOWNLOAD_CORRUPT: .* has 5 bytes, not 300000/);
  });

  test('refuses an encoding that was not asked for', async () => {
    answers = [(response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end('x')];
    expect(await failure()).toMatch(/^DOWNLOAD_CORRUPT: .*encoded as gzip/);
  });

  test.each([206, 201, 204, 304, 403, 404, 410])('a status of %i is no 200, and is not tried again', async (code) => {
    answers = [status(code)];
    expect(await failure({ remedy: 'look at the version' })).toMatch(
      new RegExp(
        `^DOWNLOAD_FAILED: cannot fetch ${server.url('/a.bin')}: it answered ${code} .*not 200; look at the version$`,
      ),
    );
    expect(server.requests).toHaveLength(1);
  });

  test.each([429, 500, 503])('a status of %i is tried again, a bounded number of times', async (code) => {
    answers = [status(code, { 'retry-after': '0' }), status(code), whole];
    const retries: string[] = [];
    await get({ sha256: SHA256, onRetry: (message) => retries.push(message) });
    expect(retries).toHaveLength(2);
    expect(retries[1]).toContain(`answered ${code}`);
    answers = [status(code)];
    server.requests.length = 0;
    await expect(get()).rejects.toMatchObject({ code: 'DOWNLOAD_FAILED', details: { status: code, tries: 4 } });
    expect(server.requests).toHaveLength(4);
  });

  test('a body that breaks off is fetched anew', async () => {
    const cut = (response: ServerResponse) => {
      response.writeHead(200, { 'content-length': DATA.length });
      response.write(DATA.subarray(0, 100_000), () => response.socket?.destroy());
    };
    answers = [cut, whole];
    expect(await get({ sha256: SHA256 })).toMatchObject({ sizeBytes: DATA.length });
    expect(await readdir(scratch.path)).toEqual(['a.bin']);
    answers = [cut];
    await expect(get({ tries: 2 })).rejects.toMatchObject({
      code: 'DOWNLOAD_FAILED',
      message: expect.stringContaining('(2 tries)'),
    });
    expect(DATA.equals(await readFile(scratch.file('a.bin')))).toBe(true);
  });

  test('one that breaks off without a length or a sha256 is told by its framing', async () => {
    answers = [(response) => void response.write(DATA, () => response.socket?.destroy())];
    expect(await failure({ tries: 1 })).toMatch(/^DOWNLOAD_FAILED/);
  });

  test('waits neither for headers nor for a body for ever', async () => {
    answers = [() => undefined];
    expect(await failure({ connectMs: 100, stallMs: 50, tries: 2 })).toMatch(
      /^DOWNLOAD_FAILED: .*nothing came for 0.15 s \(2 tries\)/,
    );
    answers = [(response) => void response.writeHead(200, { 'content-length': 10 }).write('x')];
    expect(await failure({ stallMs: 50, tries: 1 })).toMatch(/^DOWNLOAD_FAILED: .*nothing came for 0.05 s/);
  });

  test('a trickle that never stalls has the deadline of the whole', async () => {
    answers = [
      (response) => {
        const timer = setInterval(() => response.write('x'), 10);
        response.on('close', () => clearInterval(timer)).on('error', () => undefined);
      },
    ];
    expect(await failure({ wholeMs: 300 })).toMatch(/^DOWNLOAD_FAILED: .*took longer than 0.3 s/);
    expect(server.requests).toHaveLength(1);
  });

  test('is canceled before, during and between', async () => {
    expect(await failure({ signal: AbortSignal.abort() })).toMatch(/^CANCELED/);
    expect(server.requests).toEqual([]);
    const abort = new AbortController();
    answers = [
      (response) => {
        response.writeHead(200, { 'content-length': 10 }).write('x');
        setTimeout(() => abort.abort(), 20);
      },
    ];
    expect(await failure({ signal: abort.signal })).toMatch(/^CANCELED: fetching http/);
    const later = new AbortController();
    answers = [status(503, { 'retry-after': '60' })];
    expect(await failure({ signal: later.signal, onRetry: () => later.abort() })).toMatch(/^CANCELED/);
  });

  test('a server that is not there', async () => {
    const { port } = server;
    await server[Symbol.asyncDispose]();
    expect(await failure({ tries: 2 })).toMatch(`DOWNLOAD_FAILED: cannot fetch http://127.0.0.1:${port}/a.bin: `);
    server = await artifactServer(() => undefined);
  });

  test('a target that cannot be written', async () => {
    const target = scratch.file('absent', 'a.bin');
    await expect(download(server.url('/a.bin'), target, { maxBytes: 1 << 20 })).rejects.toMatchObject({
      code: 'FILE_WRITE_FAILED',
      message: expect.stringContaining(target),
    });
    await mkdir(scratch.file('folder', 'full'), { recursive: true });
    await expect(download(server.url('/a.bin'), scratch.file('folder'), { maxBytes: 1 << 20 })).rejects.toMatchObject({
      code: 'FILE_WRITE_FAILED',
    });
    expect(await readdir(scratch.path)).toEqual(['folder']);
  });
});

describe('small files', () => {
  test('fetchText is bounded', async () => {
    answers = [(response) => void response.end('four')];
    expect(await fetchText(server.url('/t'), 4)).toBe('four');
    await expect(fetchText(server.url('/t'), 3)).rejects.toMatchObject({ code: 'DOWNLOAD_CORRUPT' });
  });

  test.each([
    [`${SHA256}  a.tgz\n`, true],
    [`${SHA256} *./a.tgz`, true],
    [`${SHA256.toUpperCase()}\n`, true],
    [`${'0'.repeat(64)}  b.tgz\n${SHA256}  a.tgz\n`, true],
    [`${SHA256}  b.tgz\n`, false],
    [`${SHA256}0  a.tgz\n`, false],
    ['<html>', false],
  ])('fetchChecksum reads %j', async (text, good) => {
    answers = [(response) => void response.end(text)];
    const found = fetchChecksum(server.url('/x/a.tgz?token=secret'), '.sha256.txt', {});
    if (good) {
      expect(await found).toBe(SHA256);
      expect(server.requests).toEqual(['GET /x/a.tgz.sha256.txt?token=secret']);
    } else {
      await expect(found).rejects.toMatchObject({
        code: 'DOWNLOAD_CORRUPT',
        message: expect.not.stringContaining('secret'),
      });
    }
  });

  test('redirectTarget does not follow', async () => {
    answers = [status(302, { location: 'https://example.invalid/tag/v1.2.3' }), whole];
    expect(await redirectTarget(server.url('/latest'))).toBe('https://example.invalid/tag/v1.2.3');
    expect(await redirectTarget(server.url('/latest'))).toBeUndefined();
  });
});
