import { randomBytes } from 'node:crypto';
import { mkdir, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ImageManager } from '../../ts/images/image-manager.js';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import { run } from '../../ts/util/run.js';
import { bundleProgram } from '../support/bundle.js';
import { processesNaming, until } from '../support/leftovers.js';
import { addImage } from '../support/oci-image.js';
import { fileInRoot } from '../support/oci-pull.js';
import { type Registry, startRegistry } from '../support/registry.js';
import { plantDebian, type Resolver, type ResolverWord, resolver } from '../support/resolver.js';
import { type ScratchDirectory, scratchDirectory } from '../support/scratch.js';
import { type SlowRegistry, slowRegistry } from '../support/slow-registry.js';

const WAIT_MS = 30_000;

let scratch: ScratchDirectory;
let registry: Registry;
let slow: SlowRegistry;
let cacheDir: string;
let caches = 0;

const other = (name: string): Resolver => resolver([process.execPath, scratch.file('resolve.mjs')], cacheDir, name);
const manager = () => new ImageManager({ cacheDir, agentPath: '/bin/true' });
const image = (tag: string) => `oci:${slow.host}/team/app:${tag}`;
const layers = () => readdir(join(cacheDir, 'oci/blobs/sha256'));

beforeAll(async () => {
  scratch = await scratchDirectory();
  registry = await startRegistry();
  slow = await slowRegistry(registry);
  await bundleProgram('resolve-image.ts', scratch.file('resolve.mjs'));
  const base = [{ name: 'base', data: 'shared' }];
  for (const [tag, data] of [
    ['small', 'one'],
    ['large', randomBytes(5_000_000)],
  ] as const) {
    await addImage(scratch.file('layout'), tag, { layers: [base, [{ name: 'app', data }]] });
    const target = `docker://${registry.host}/team/app:${tag}`;
    await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${scratch.file('layout')}:${tag}`, target]);
  }
});
afterAll(async () => {
  await slow?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
  await scratch?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  cacheDir = scratch.file(`cache-${++caches}`);
  await mkdir(cacheDir, { mode: 0o700 });
  await plantDebian(cacheDir);
});
afterEach(() => {
  slow.stuck = false;
  vi.unstubAllEnvs();
});

describe.runIf(process.arch === 'x64')('an image that programs pull', () => {
  /** Has another program pull the large image, and kills it in the middle of the large layer. */
  async function killed(): Promise<void> {
    slow.stuck = true;
    await using program = other(image('large'));
    await until(() => slow.stopped === 1, WAIT_MS, 'the middle of a layer');
    await program.kill();
    await until(async () => (await processesNaming(cacheDir)).length === 0, WAIT_MS, 'the end of skopeo');
    slow.stuck = false;
  }

  it('is pulled by the next program when the first is killed in the middle, and what is there stays usable', async () => {
    const { rootfs } = await manager().resolve(image('small'));
    const before = (await layers()).toSorted();
    await killed();
    expect(await readdir(join(cacheDir, 'building'))).toHaveLength(1);
    expect(await manager().resolve(image('small'))).toMatchObject({ rootfs });
    expect(await manager().verify(image('small'))).toEqual([]);
    expect((await manager().prune()).map(({ kind }) => kind)).toContain('image-build');
    expect([await readdir(join(cacheDir, 'building')), (await layers()).toSorted()]).toEqual([[], before]);
    await killed();
    const large = await manager().resolve(image('large'));
    expect((await fileInRoot(large.rootfs.path, 'base')).toString()).toBe('shared');
    expect(await manager().verify(image('large'))).toEqual([]);
    expect(await readdir(join(cacheDir, 'building'))).toEqual([]);
    expect(await manager().prune()).toEqual([]);
  });

  it('is pulled once by two at the same time: the other waits, is told how far it is, and shares it', async () => {
    slow.stuck = true;
    registry.takeRequests();
    await using first = other(image('large'));
    await until(() => slow.stopped === 1, WAIT_MS, 'the middle of a layer');
    await using second = other(image('large'));
    const come = ({ receivedBytes = 0, totalBytes = 0 }: ResolverWord) =>
      receivedBytes >= 1 << 20 && receivedBytes < totalBytes && totalBytes > 5_000_000;
    await until(() => first.words.some(come), WAIT_MS, 'how much has come');
    const told = () => second.words.filter(({ step }) => step === 'wait').map(({ message }) => message);
    await until(() => told().length > 1, WAIT_MS, 'word of the other program');
    await until(() => second.words.some(come), WAIT_MS, 'how far the other program is');
    slow.stuck = false;
    const ends = await Promise.all([first, second].map((program) => program.end()));
    expect(ends[0]).toEqual({ step: 'resolved', message: expect.stringMatching(/^sha256:/) });
    expect(ends[1]).toEqual(ends[0]);
    expect(told().slice(0, 2)).toEqual([
      expect.stringContaining('waiting'),
      expect.stringContaining('another program: '),
    ]);
    const blobs = registry.takeRequests().filter((line) => /^GET .*\/blobs\//.test(line));
    expect(blobs).toHaveLength(3); // two layers and the configuration
    expect(new Set(blobs).size).toBe(3);
    expect(await readdir(join(cacheDir, 'building'))).toEqual([]);
  });
});

describe('where a tool is missing', () => {
  const TOOLS = ['flock', 'mksquashfs', 'prlimit', 'setpriv', 'skopeo', 'tar', 'umoci', 'unshare'];

  it.each(['skopeo', 'umoci'])('without %s, it says what to install before it fetches anything', async (tool) => {
    const bin = `${cacheDir}-bin`;
    await mkdir(bin);
    for (const name of TOOLS.filter((one) => one !== tool)) {
      await symlink((await run('which', [name])).toString().trim(), join(bin, name));
    }
    registry.takeRequests();
    vi.stubEnv('PATH', bin);
    await expect(manager().resolve(image('small'))).rejects.toMatchObject({
      code: 'TOOL_MISSING',
      message: `${tool} is not installed; install with: apt-get install ${tool}`,
    });
    expect(registry.takeRequests()).toEqual([]);
    expect(await readdir(join(cacheDir, 'building'))).toEqual([]);
  });

  it.runIf(process.getuid?.() === 0)('without mke2fs, neither an ext4 image nor a layer is begun', async () => {
    await mkdir(`${cacheDir}-root`);
    // The folders of such tools are searched whatever PATH says.
    const script =
      'mount -t tmpfs tmpfs "$(readlink -f /usr/sbin)" && mount -t tmpfs tmpfs /usr/local/sbin && exec "$@"';
    const without = ['unshare', '--mount', '--', 'sh', '-c', script, 'sh'] as const;
    const program = [process.execPath, scratch.file('resolve.mjs')];
    const missing = {
      code: 'TOOL_MISSING',
      message: expect.stringMatching(/^mke2fs is not installed; install with: apt-get install e2fsprogs$/),
    };
    await using image = resolver([...without, ...program], cacheDir, `${cacheDir}-root?fs=ext4`);
    expect(await image.end()).toEqual({ step: 'failed', ...missing });
    const overlay = JSON.stringify(join(PACKAGE_ROOT, 'ts/images/overlay.ts'));
    const layer = `import(${overlay}).then((m) => m.createOverlayDrive(...process.argv.slice(-2), 64)).catch(({ code, message }) =>
      console.log(JSON.stringify({ code, message })))`;
    const making = [process.execPath, '--import', 'tsx', '--eval', layer];
    await using drive = resolver([...without, ...making], cacheDir, join(cacheDir, 'layer.img'));
    expect(await drive.end()).toEqual(missing);
    expect(await readdir(cacheDir)).not.toContain('layer.img');
    expect((await readdir(join(cacheDir, 'overlay'))).filter((name) => name !== 'lock')).toEqual([]);
  });
});
