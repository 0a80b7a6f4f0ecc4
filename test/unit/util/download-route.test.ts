import { readdir } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type DownloadOptions, download } from '../../../ts/util/download.js';
import {
  type ArtifactServer,
  artifactServer,
  connectProxy,
  madeUpTls,
  type TlsFiles,
} from '../../support/artifact-server.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

let files: ScratchDirectory;
let tls: TlsFiles;
let scratch: ScratchDirectory;

beforeAll(async () => {
  files = await scratchDirectory();
  tls = await madeUpTls(files, ['DNS:release.test', 'DNS:other.test', 'IP:127.0.0.1']);
});

afterAll(() => files[Symbol.asyncDispose]());

beforeEach(async () => {
  scratch = await scratchDirectory();
  for (const name of ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'no_proxy', 'NO_PROXY']) {
    vi.stubEnv(name, undefined);
  }
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await scratch[Symbol.asyncDispose]();
});

const options = (): DownloadOptions => ({ maxBytes: 1000, backoffMs: 1, tries: 2, ca: tls.ca });
const get = (url: string, more: Partial<DownloadOptions> = {}) =>
  download(url, scratch.file('a'), { ...options(), ...more });

async function refusal(url: string, more: Partial<DownloadOptions> = {}): Promise<string> {
  const error = await get(url, more).catch((reason: unknown) => reason as { code: string; message: string });
  // Whoever prints it, and however deep.
  expect(inspect(error, { depth: null, showHidden: true })).not.toContain('secret');
  expect(await readdir(scratch.path)).toEqual([]);
  return 'code' in error ? `${error.code}: ${error.message}` : 'none';
}

/** Redirects /to?LOCATION there, answers anything else. */
function redirecting(seen: IncomingMessage[] = []) {
  return (request: IncomingMessage, response: ServerResponse) => {
    seen.push(request);
    const [path, location] = (request.url ?? '').split('?');
    if (path === '/to') {
      response.writeHead(302, { location: decodeURIComponent(location ?? '') }).end();
    } else {
      response.end('good');
    }
  };
}

const to = (location: string) => `/to?${encodeURIComponent(location)}`;

describe('HTTPS', () => {
  test('trusts the authority that it is told of, and no other', async () => {
    await using server = await artifactServer(redirecting(), tls);
    expect(await get(server.url('/a'))).toMatchObject({ sizeBytes: 4 });
    await expect(get(server.url('/a'), { ca: undefined })).rejects.toMatchObject({
      code: 'DOWNLOAD_FAILED',
      message: expect.stringMatching(/TLS failed: .*NODE_EXTRA_CA_CERTS/),
      details: { tries: 1 },
    });
  });

  test('a certificate for another name', async () => {
    await using server = await artifactServer(redirecting(), tls);
    expect(await refusal(`https://localhost:${server.port}/a`)).toMatch(/^DOWNLOAD_FAILED: .*TLS failed: .*altnames/);
  });
});

describe('redirects', () => {
  let server: ArtifactServer;
  let seen: IncomingMessage[];

  beforeEach(async () => {
    seen = [];
    server = await artifactServer(redirecting(seen), tls);
  });

  afterEach(() => server[Symbol.asyncDispose]());

  test('are followed, absolute and relative ones', async () => {
    const result = await get(server.url(to(to('../b?signature=secret'))));
    expect(result.url).toBe(server.url('/b'));
    expect(server.requests.at(-1)).toBe('GET /b?signature=secret');
  });

  test('five are enough', async () => {
    const times = (count: number): string => (count === 0 ? '/a' : to(times(count - 1)));
    expect(await get(server.url(times(5)))).toMatchObject({ sizeBytes: 4 });
    await using loop = await artifactServer(
      (_request, response) => void response.writeHead(302, { location: '/x' }).end(),
    );
    await expect(get(loop.url('/x'))).rejects.toMatchObject({
      code: 'DOWNLOAD_REFUSED',
      message: expect.stringContaining('more than 5 times'),
    });
    expect(loop.requests).toHaveLength(6);
  });

  test('do not leave HTTPS, not for loopback either', async () => {
    await using plain = await artifactServer(redirecting());
    expect(await refusal(server.url(to(plain.url('/a'))))).toMatch(/^DOWNLOAD_REFUSED: .*which is not https/);
    expect(plain.requests).toEqual([]);
    expect(await refusal(server.url(to('ftp://127.0.0.1/a')))).toMatch(/^DOWNLOAD_REFUSED/);
  });

  test.each(['', 'http://', 'http://[::1'])('one to %j leads nowhere', async (location) => {
    await using strange = await artifactServer((_request, response) => {
      response.writeHead(302, location ? { location } : {}).end();
    });
    expect(await refusal(strange.url('/a'))).toMatch(/^DOWNLOAD_FAILED: .*redirects to no URL/);
  });

  test('credentials stay with the origin that they are for', async () => {
    await using other = await artifactServer(redirecting(seen), tls);
    const withUser = new URL(server.url(to(to(other.url('/b')))));
    [withUser.username, withUser.password] = ['me', 'p%40ss'];
    await get(withUser.href, { headers: { 'x-token': 't' } });
    const shown = seen.map(({ headers }) => [headers.authorization, headers['x-token']]);
    const basic = `Basic ${Buffer.from('me:p@ss').toString('base64')}`;
    expect(shown).toEqual([
      [basic, 't'],
      [basic, 't'],
      [undefined, undefined],
    ]);
  });

  test('an error shows neither user nor query', async () => {
    const message = await refusal(
      `https://me:secret@127.0.0.1:${server.port}/to?ftp%3A%2F%2Fsecret:secret@h%2F%3Fsecret`,
    );
    expect(message).toMatch(/^DOWNLOAD_REFUSED/);
    expect(message).not.toContain('secret');
    const urls = ['me:secret@127.0.0.1/a', 'https://me:secret@[/a', 'http://me:secret@192.0.2.1/?secret'];
    for (const url of [...urls, 'https://me:secret@h.invalid/?secret']) {
      expect(await refusal(url)).toMatch(/^DOWNLOAD_(?:REFUSED|FAILED): (?!.*secret)/);
    }
  });
});

describe('plain HTTP', () => {
  test.each(['http://10.1.2.3/a', 'http://192.0.2.1/a', 'http://[fd00::1]/a', 'file:///etc/passwd', 'no URL'])(
    '%s is refused',
    async (url) => {
      expect(await refusal(url)).toMatch(/^DOWNLOAD_REFUSED/);
    },
  );

  test('a name is judged by its address', async () => {
    await using server = await artifactServer(redirecting());
    expect(await get(`http://localhost:${server.port}/a`)).toMatchObject({ sizeBytes: 4 });
  });

  test('does not go to a proxy', async () => {
    await using server = await artifactServer(redirecting());
    vi.stubEnv('HTTP_PROXY', 'http://127.0.0.1:9');
    expect(await get(server.url('/a'))).toMatchObject({ sizeBytes: 4 });
  });
});

describe('a proxy', () => {
  test.each(['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY'])(
    'of %s is asked for the tunnel, by the name',
    async (name) => {
      await using server = await artifactServer(redirecting(), tls);
      await using proxy = await connectProxy(server.port);
      vi.stubEnv(name, `http://user:pa%20ss@127.0.0.1:${proxy.port}`);
      expect(await get('https://release.test/a')).toMatchObject({ url: 'https://release.test/a', sizeBytes: 4 });
      const authorization = `Basic ${Buffer.from('user:pa ss').toString('base64')}`;
      expect(proxy.tunnels).toEqual([{ target: 'release.test:443', authorization }]);
    },
  );

  test('may be named without its scheme', async () => {
    await using server = await artifactServer(redirecting(), tls);
    await using proxy = await connectProxy(server.port);
    vi.stubEnv('HTTPS_PROXY', `127.0.0.1:${proxy.port}`);
    expect(await get('https://release.test/a')).toMatchObject({ sizeBytes: 4 });
  });

  test('sees that the certificate is for the name', async () => {
    await using server = await artifactServer(redirecting(), tls);
    await using proxy = await connectProxy(server.port);
    vi.stubEnv('HTTPS_PROXY', `http://127.0.0.1:${proxy.port}`);
    expect(await refusal('https://unknown.test/a')).toMatch(/^DOWNLOAD_FAILED: .*TLS failed/);
  });

  test('is left out for the names of NO_PROXY', async () => {
    await using proxy = await connectProxy(1);
    vi.stubEnv('HTTPS_PROXY', `http://127.0.0.1:${proxy.port}`);
    vi.stubEnv('NO_PROXY', 'example.com,.test');
    expect(await refusal('https://release.test/a')).toMatch(/^DOWNLOAD_FAILED: .*release\.test/);
    expect(proxy.tunnels).toEqual([]);
  });

  test('carries redirects too, but none from a public name to this host or a private network', async () => {
    const seen: IncomingMessage[] = [];
    await using server = await artifactServer(redirecting(seen), tls);
    await using proxy = await connectProxy(server.port);
    vi.stubEnv('HTTPS_PROXY', `http://127.0.0.1:${proxy.port}`);
    expect(
      await get(`https://release.test${to('https://other.test/b')}`, { headers: { 'x-token': 't' } }),
    ).toMatchObject({
      url: 'https://other.test/b',
    });
    expect(seen.map(({ headers }) => headers['x-token'])).toEqual(['t', undefined]);
    const before = proxy.tunnels.length;
    const { rm } = await import('node:fs/promises');
    await rm(scratch.file('a'));
    for (const target of [
      server.url('/b'),
      `https://localhost:${server.port}/b`,
      'https://2130706433/b',
      'https://[::ffff:127.0.0.1]/b',
      'https://10.0.0.1/b',
      'https://169.254.169.254/latest/meta-data',
      'https://[fe80::1]/b',
    ]) {
      expect(await refusal(`https://release.test${to(target)}`), target).toMatch(
        /^DOWNLOAD_REFUSED: .* address, to which a public host must not send us/,
      );
    }
    expect(proxy.tunnels.slice(before).every(({ target }) => target === 'release.test:443')).toBe(true);
  });

  test.each([
    [407, 1],
    [502, 2],
  ])('that answers %i is named', async (code, tries) => {
    await using proxy = await connectProxy(1, code);
    vi.stubEnv('HTTPS_PROXY', `http://user:secret@127.0.0.1:${proxy.port}`);
    const message = await refusal('https://release.test/a');
    expect(message).toMatch(
      new RegExp(`^DOWNLOAD_FAILED: .*the proxy answered ${code} to CONNECT.*look at HTTPS_PROXY`),
    );
    expect(message).not.toContain('secret');
    expect(proxy.tunnels).toHaveLength(tries);
  });

  test('that is not there, and one that is no URL', async () => {
    vi.stubEnv('HTTPS_PROXY', 'http://127.0.0.1:1');
    expect(await refusal('https://release.test/a')).toMatch(/^DOWNLOAD_FAILED: .*ECONNREFUSED/);
    vi.stubEnv('HTTPS_PROXY', 'http://secret:secret@[');
    expect(await refusal('https://release.test/a')).toMatch(/^DOWNLOAD_FAILED: .*HTTPS_PROXY is not a URL/);
  });
});
