import { readdir } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { download } from '../../../ts/util/download.js';
import { artifactServer, connectProxy, madeUpTls } from '../../support/artifact-server.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

/** What names stand for here. Servers, proxy and connections are real. */
const ADDRESSES: Record<string, string[]> = {
  'inner.test': ['127.0.0.1'],
  'metadata.test': ['169.254.169.254', '10.0.0.1'],
  'plain.test': ['192.0.2.1'],
};

vi.mock('node:dns', async (original) => {
  const dns = await original<typeof import('node:dns')>();
  const lookup = (name: string, _options: object, callback: (error: null, found: object[]) => void) =>
    callback(
      null,
      (ADDRESSES[name] ?? []).map((address) => ({ address, family: 4 })),
    );
  return { ...dns, lookup };
});

let scratch: ScratchDirectory;

beforeEach(async () => {
  scratch = await scratchDirectory();
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await scratch[Symbol.asyncDispose]();
});

test('a public host does not lead to a name of this host or of a private network', async () => {
  const tls = await madeUpTls(scratch, ['DNS:release.test', 'DNS:inner.test']);
  await using server = await artifactServer((request, response) => {
    const location = new URL(request.url ?? '', 'https://x').searchParams.get('to');
    location ? response.writeHead(302, { location }).end() : response.end('good');
  }, tls);
  await using proxy = await connectProxy(server.port);
  vi.stubEnv('HTTPS_PROXY', `http://127.0.0.1:${proxy.port}`);
  vi.stubEnv('NO_PROXY', 'inner.test,metadata.test');
  const target = scratch.file('a');
  const get = (url: string) => download(url, target, { maxBytes: 100, ca: tls.ca, tries: 2 });
  const before = await readdir(scratch.path);
  const inner = `https://inner.test:${server.port}/a`;
  for (const [to, shown] of [
    [inner, 'inner.test is 127.0.0.1 (loopback)'],
    ['https://metadata.test/a', '(link-local), 10.0.0.1 (private)'],
  ]) {
    await expect(get(`https://release.test/?to=${to}`)).rejects.toMatchObject({
      code: 'DOWNLOAD_REFUSED',
      message: expect.stringContaining(shown ?? ''),
      details: { tries: 1 },
    });
  }
  expect(server.requests.filter((line) => line === 'GET /a')).toEqual([]);
  expect(await readdir(scratch.path)).toEqual(before);
  expect(await get(inner)).toMatchObject({ url: inner }); // who names it may go there
});

test('plain HTTP goes to no name that is not loopback', async () => {
  await expect(download('http://plain.test/a', scratch.file('a'), { maxBytes: 100 })).rejects.toMatchObject({
    code: 'DOWNLOAD_REFUSED',
    message: expect.stringContaining('plain.test is 192.0.2.1 (public); plain http is for loopback alone'),
  });
});
