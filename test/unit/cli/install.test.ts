import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { statusLine } from '../../../ts/cli/install/report.js';
import { main } from '../../../ts/cli/main.js';
import { hostArch, kvmProblem } from '../../../ts/vmm/host.js';
import { FIRECRACKER_VERSION } from '../../../ts/vmm/release-files.js';
import { artifactServer } from '../../support/artifact-server.js';
import { printer, releaseServer } from '../../support/fake-release.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

let scratch: ScratchDirectory;
let [stdout, stderr] = ['', ''];

beforeEach(async () => {
  scratch = await scratchDirectory();
  vi.stubEnv('SMARTVM_DATA_DIR', scratch.file('data'));
  [stdout, stderr] = ['', ''];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += text;
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr += text;
    return true;
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  await scratch[Symbol.asyncDispose]();
});

interface Document {
  schemaVersion: number;
  ready: boolean;
  changed: boolean;
  dryRun: boolean;
  steps: { step: string; state: string; message: string; code?: string; command?: string; warnings?: string[] }[];
}

/** Runs `smartvm install --json` and gives its exit code and document. */
async function install(
  ...args: string[]
): Promise<{ code: number; document: Document; step(name: string): Document['steps'][0] }> {
  stdout = '';
  const code = await main(['install', '--json', ...args]);
  const document = JSON.parse(stdout) as Document;
  const step = (name: string) =>
    document.steps.find((entry) => entry.step === name) ?? { step: '', state: '', message: '' };
  return { code, document, step };
}

/** A PATH with links to these programs alone. The system's own folders are looked into all the same. */
async function pathOf(programs: Record<string, string>): Promise<void> {
  await mkdir(scratch.file('path'));
  for (const [name, target] of Object.entries(programs)) {
    await symlink(target, scratch.file('path', name));
  }
  vi.stubEnv('PATH', scratch.file('path'));
}

describe('smartvm install', () => {
  test('fetches Firecracker, says what it did, and does nothing the second time', async () => {
    await using server = await releaseServer(scratch, { version: FIRECRACKER_VERSION });
    vi.stubEnv('SMARTVM_FIRECRACKER_MIRROR', server.url(''));
    const first = await install('--firecracker', '--no-image');
    expect(first.document).toMatchObject({ schemaVersion: 1, ready: true, changed: true, dryRun: false });
    expect(first.document.steps.map(({ step, state }) => [step, state])).toEqual([
      ['vmm', 'present'],
      ['packages', 'present'],
      ['firecracker', 'done'],
    ]);
    expect(first.step('firecracker')).toMatchObject({
      message: expect.stringContaining(`fetched Firecracker ${FIRECRACKER_VERSION} and its jailer`),
      details: { version: FIRECRACKER_VERSION, archiveSha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
    expect(first.code).toBe(0);
    expect(stderr).toMatch(
      /^vmm .*\npackages .*\nfirecracker .*fetching .*\nfirecracker +done .*\nready; try: smartvm run/,
    );
    server.requests.length = 0;
    stderr = '';
    const second = await install('--firecracker', '--no-image');
    expect([second.code, second.document.ready, second.document.changed]).toEqual([0, true, false]);
    expect(stderr).toMatch(/nothing to do: all that SmartVM needs is here\n$/);
    expect(server.requests).toEqual([]);
  });

  test('shows nothing of what may be secret in the URL of a mirror or of a proxy', async () => {
    await using server = await artifactServer((request, response) => {
      const latest = request.url?.startsWith('/latest');
      response.writeHead(latest ? 302 : 404, latest ? { location: '/elsewhere?token=secret' } : {}).end();
    });
    const mirror = `http://me:secret@127.0.0.1:${server.port}`;
    for (const url of [
      mirror,
      'https://me:secret@mirror.invalid',
      'http://me:secret@192.0.2.1',
      'me:secret@',
      '//secret@[',
    ]) {
      vi.stubEnv('SMARTVM_FIRECRACKER_MIRROR', url);
      vi.stubEnv('HTTPS_PROXY', 'http://me:secret@127.0.0.1:1');
      for (const version of ['latest', '1.99.0']) {
        const { step, code } = await install('--firecracker', '--no-image', '--firecracker-version', version);
        expect([step('firecracker').state, code]).toEqual(['failed', 1]);
        expect(step('firecracker').code).toMatch(/^(?:DOWNLOAD|RELEASE)_/);
        expect(stdout + stderr).not.toContain('secret');
      }
    }
  });

  test('a dry run says what it would do, and makes nothing', async () => {
    await using server = await releaseServer(scratch, { version: FIRECRACKER_VERSION });
    vi.stubEnv('SMARTVM_FIRECRACKER_MIRROR', server.url(''));
    const { code, document, step } = await install('--firecracker', '--dry-run');
    expect([code, document.dryRun, document.changed]).toEqual([0, true, false]);
    expect([step('firecracker').state, step('image').state]).toEqual(['planned', 'planned']);
    expect(step('image').message).toMatch(/building image debian/);
    expect(stderr).toMatch(/a dry run: nothing was done\n$/);
    expect([server.requests, await readdir(scratch.path)]).toEqual([[], []]);
  });

  test('takes another version, the latest, and warns of known faults and of what goes before it', async () => {
    await using server = await releaseServer(scratch, { version: '1.99.0' }, { version: '1.14.0' });
    vi.stubEnv('SMARTVM_FIRECRACKER_MIRROR', server.url(''));
    const latest = await install('--firecracker', '--no-image', '--firecracker-version', 'latest');
    expect(latest.step('firecracker')).toMatchObject({ state: 'done', warnings: [] });
    const old = await install('--firecracker', '--no-image', '--firecracker-version', 'v1.14.0');
    expect(old.step('firecracker').warnings).toEqual([
      expect.stringMatching(/^firecracker has CVE-2026-5747 \(with enablePci\)/),
      expect.stringMatching(/^jailer has CVE-2026-1386/),
      expect.stringMatching(/firecracker-v1\.99\.0-\w+ goes before it/),
    ]);
    expect((await readdir(scratch.file('data', 'bin'))).filter((name) => name.endsWith(hostArch()))).toHaveLength(4);
    const whatever = await install('--firecracker', '--no-image');
    expect(whatever.step('firecracker')).toMatchObject({
      state: 'present',
      message: expect.stringContaining('1.99.0'),
    });
  });

  test('what fails is told with its code, and does not keep the rest from being done', async () => {
    vi.stubEnv('SMARTVM_FIRECRACKER_MIRROR', 'http://192.0.2.1/');
    const { code, document, step } = await install('--firecracker', '--image', 'fedora');
    expect([code, document.ready]).toEqual([1, false]);
    expect(step('firecracker')).toMatchObject({ state: 'failed', code: 'DOWNLOAD_REFUSED' });
    expect(step('image')).toMatchObject({ state: 'failed', code: 'IMAGE_UNKNOWN' });
    expect(stderr).toMatch(/not ready: see above\n$/);
  });

  test('a Firecracker on PATH is taken with its jailer, and not without', async () => {
    await mkdir(scratch.file('opt'));
    vi.stubEnv('PATH', `${scratch.file('opt')}:${process.env.PATH}`);
    await writeFile(scratch.file('opt', 'firecracker'), printer('Firecracker', '1.16.0'), { mode: 0o755 });
    const alone = await install('--firecracker', '--no-image');
    expect(alone.step('firecracker')).toMatchObject({
      state: 'failed',
      code: 'JAILER_MISSING',
      message: expect.stringContaining('take it off PATH and run this again'),
    });
    await writeFile(scratch.file('opt', 'jailer'), printer('Jailer', '1.16.0'), { mode: 0o755 });
    const both = await install('--firecracker', '--no-image');
    expect(both.code).toBe(0);
    expect(both.step('firecracker')).toMatchObject({
      state: 'present',
      warnings: [expect.stringMatching(/vsock-after-restore/)],
    });
  });

  test('says which VMM it is, and why', async () => {
    const problem = await kvmProblem();
    const { step } = await install('--no-image', '--dry-run');
    const reason = problem ?? 'KVM can run guests here';
    expect(step('vmm')).toMatchObject({ reason, details: { kind: problem === undefined ? 'firecracker' : 'qemu' } });
  });
});

describe('the system packages', () => {
  test('that are missing are named with what they are for and the command that installs them', async () => {
    await pathOf({ 'apt-get': '/bin/false' });
    const { code, step } = await install('--no-image', '--firecracker');
    expect(code).toBe(1);
    expect(step('packages')).toMatchObject({
      state: 'failed',
      code: 'TOOL_MISSING',
      message: expect.stringMatching(
        /^missing: .*flock \(to run VMs\).*tar \(to unpack Firecracker\).*; install with: /,
      ),
      command: expect.stringMatching(/apt-get install --no-install-recommends .*\btar\b/),
      details: { missing: expect.arrayContaining(['flock', 'tar', 'gzip']) },
    });
    expect(stderr).toMatch(/not ready: see above\nrun: (sudo )?apt-get install/);
  });

  test('are for the system to install where it has no apt-get', async () => {
    await pathOf({});
    const { step } = await install('--no-image', '--firecracker', '--with-deps');
    expect(step('packages')).toMatchObject({
      state: 'failed',
      message: expect.stringContaining('there is no apt-get here'),
    });
  });

  test('would be installed with --with-deps', async () => {
    await pathOf({ 'apt-get': '/bin/false' });
    const { step } = await install('--no-image', '--firecracker', '--with-deps', '--dry-run');
    expect(step('packages')).toMatchObject({
      state: 'planned',
      message: expect.stringMatching(/^installing .*tar.* with apt-get$/),
    });
  });
});

describe('its options', () => {
  test.each([['--firecracker-version', '1.16'], ['--firecracker-version', '../1.2.3'], ['--fly']])(
    '%j',
    async (...args) => {
      expect(await main(['install', ...args])).toBe(125);
      expect(stderr).toMatch(/error: /);
    },
  );

  test('--help has an example', async () => {
    expect(await main(['install', '--help'])).toBe(0);
    expect(stdout).toMatch(/^Usage: smartvm install[\s\S]*Example:\n {2}smartvm install --with-deps\n$/);
  });
});

describe('the status line', () => {
  const MIB = 1024 * 1024;
  const rate = { seconds: 3.5, bytesPerSecond: 2.5 * MIB };
  const progress = { receivedBytes: 5 * MIB, totalBytes: 10 * MIB };

  test.each([
    [60, '[###############...............]  5.0/10.0 MiB  2.5 MiB/s'],
    [40, '[######.......]  5.0/10.0 MiB  2.5 MiB/s'],
    [26, '5.0/10.0 MiB  2.5 MiB/s'],
    [15, '5.0/10.0 MiB'],
  ])('of %i columns', (width, line) => {
    expect(statusLine('fetching', progress, rate, width)).toBe(line);
    expect(line.length).toBeLessThanOrEqual(width);
  });

  test('of an unknown size, and of no bytes at all', () => {
    expect(statusLine('fetching', { ...progress, totalBytes: undefined }, rate, 60)).toBe('5.0 MiB  2.5 MiB/s');
    expect(statusLine('building', undefined, rate, 60)).toBe('building 3 s');
    expect(statusLine('building', undefined, { ...rate, seconds: 1 }, 60)).toBe('building');
    expect(statusLine('building an image', undefined, rate, 12)).toBe('building 3 s');
  });
});
