import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { run } from '../../ts/util/run.js';
import { addImage } from '../support/oci-image.js';
import { cachedBlobs, fileInRoot, pullRoot } from '../support/oci-pull.js';
import { type Registry, startRegistry } from '../support/registry.js';
import { type ScratchDirectory, scratchDirectory } from '../support/scratch.js';

const BASE = [{ name: 'base', data: 'shared '.repeat(1000) }];
const APP = [{ name: 'app', data: 'one' }];

let scratch: ScratchDirectory;
let registry: Registry;

const push = (tag: string, name: string, { host } = registry, ...flags: string[]) =>
  run('skopeo', [
    ...['copy', '--dest-tls-verify=false', ...flags],
    ...[`oci:${scratch.file('layout')}:${tag}`, `docker://${host}/${name}`],
  ]);

beforeAll(async () => {
  scratch = await scratchDirectory();
  registry = await startRegistry();
  await addImage(scratch.file('layout'), 'one', { layers: [BASE, APP], config: ['--config.env', 'A=b'] });
  await addImage(scratch.file('layout'), 'two', { layers: [BASE, [{ name: 'app', data: 'two' }]] });
  await addImage(scratch.file('layout'), 'arm', { layers: [BASE], architecture: 'arm64' });
  await push('one', 'team/app:v1');
  await push('two', 'team/app:v2');
  await push('one', 'team/docker:v1', registry, '--format', 'v2s2');
});
afterAll(async () => {
  await registry?.[Symbol.asyncDispose]();
  await scratch?.[Symbol.asyncDispose]();
});
afterEach(() => vi.unstubAllEnvs());

const blobsOf = (requests: readonly string[]) => requests.filter((line) => /^GET .*\/blobs\//.test(line));

describe('pulling from a registry', () => {
  it('fetches each layer once: another tag of it only what it has of its own, and one that is the same nothing', async () => {
    const cache = scratch.file('once');
    registry.takeRequests();
    const first = await pullRoot(`${registry.host}/team/app:v1`, cache);
    expect(await fileInRoot(first.path, 'app')).toBe('one');
    expect(first.config.env).toMatchObject({ A: 'b' });
    expect(blobsOf(registry.takeRequests())).toHaveLength(3); // two layers and the configuration
    const second = await pullRoot(`${registry.host}/team/app:v2`, cache);
    expect(await fileInRoot(second.path, 'app')).toBe('two');
    expect(blobsOf(registry.takeRequests())).toHaveLength(2);
    const again = await pullRoot(`${registry.host}/team/app:v1`, cache);
    expect(again).toMatchObject({ rootfs: first.rootfs, source: first.source });
    expect(again.config).toEqual(first.config);
    const requests = registry.takeRequests();
    expect(blobsOf(requests)).toEqual([]);
    expect(requests.filter((line) => line.includes('/manifests/v1'))).not.toEqual([]);
    const byDigest = await pullRoot(`${registry.host}/team/app@${first.source.digest}`, cache);
    expect(byDigest.rootfs).toEqual(first.rootfs);
  });

  it("takes docker's form of a manifest for the same image", async () => {
    const oci = await pullRoot(`${registry.host}/team/app:v1`, scratch.file('forms-1'));
    const docker = await pullRoot(`${registry.host}/team/docker:v1`, scratch.file('forms-2'));
    expect(docker.rootfs).toEqual(oci.rootfs);
    expect(docker.source.digest).not.toBe(oci.source.digest);
  });

  it('fetches a layer again of which a byte has flipped in the cache', async () => {
    const cache = scratch.file('flipped');
    const first = await pullRoot(`${registry.host}/team/app:v1`, cache);
    await rm(`${cache}/blobs`, { recursive: true });
    const [layer = ''] = first.source.layers;
    const file = await open(`${cache}/oci/blobs/sha256/${layer.slice(7)}`, 'r+');
    await file.write(Buffer.from('X'), 0, 1, 60);
    await file.close();
    registry.takeRequests();
    const again = await pullRoot(`${registry.host}/team/app:v1`, cache);
    expect(again.rootfs).toEqual(first.rootfs);
    const layers = blobsOf(registry.takeRequests()).filter((line) =>
      first.source.layers.some((one) => line.endsWith(one)),
    );
    expect(layers).toEqual([expect.stringContaining(layer)]);
    expect(again.steps.filter((step) => step === 'verify')).toHaveLength(2);
  });

  it('takes the image for the guests out of several, and says what there is where there is none', async () => {
    const layout = scratch.file('layout');
    const index = JSON.parse(await readFile(`${layout}/index.json`, 'utf8'));
    const entries = index.manifests as { annotations: Record<string, string> }[];
    const platform = (tag: string, architecture: string) => ({
      ...entries.find(({ annotations }) => annotations['org.opencontainers.image.ref.name'] === tag),
      platform: { os: 'linux', architecture },
    });
    for (const [name, manifests] of [
      ['several', [platform('arm', 'arm64'), platform('two', 'amd64')]],
      ['others', [platform('arm', 'arm64')]],
    ] as const) {
      const folder = scratch.file(name);
      await run('cp', ['--archive', layout, folder]);
      const text = JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.index.v1+json',
        manifests,
      });
      await writeFile(`${folder}/list`, text);
      const hex = (await run('sha256sum', [`${folder}/list`])).toString().slice(0, 64);
      await run('mv', [`${folder}/list`, `${folder}/blobs/sha256/${hex}`]);
      const list = { mediaType: 'application/vnd.oci.image.index.v1+json', digest: `sha256:${hex}`, size: text.length };
      const named = { ...list, annotations: { 'org.opencontainers.image.ref.name': 'all' } };
      await writeFile(`${folder}/index.json`, JSON.stringify({ schemaVersion: 2, manifests: [named] }));
      const target = `docker://${registry.host}/team/${name}`;
      await run('skopeo', ['copy', '--all', '--dest-tls-verify=false', `oci:${folder}:all`, target]);
    }
    const { path } = await pullRoot(`${registry.host}/team/several`, scratch.file('platforms'));
    expect(await fileInRoot(path, 'app')).toBe('two');
    await expect(pullRoot(`${registry.host}/team/others`, scratch.file('platforms'))).rejects.toMatchObject({
      code: 'IMAGE_REFUSED',
      message: expect.stringContaining('no image for linux/amd64, but for linux/arm64'),
    });
  });

  it('says what is wrong: no such tag, nobody there, no credentials', async () => {
    const cache = scratch.file('wrong');
    const pull = (reference: string) => pullRoot(reference, cache);
    const failed = (reason: string) => ({ code: 'IMAGE_PULL_FAILED', details: { reason } });
    await expect(pull(`${registry.host}/team/app:nope`)).rejects.toMatchObject(failed('not-found'));
    await expect(pull('127.0.0.1:1/team/app')).rejects.toMatchObject(failed('network'));
    expect(await cachedBlobs(cache)).toEqual([]);
  });

  it("uses docker's own credentials", async () => {
    await using closed = await startRegistry({ auth: true });
    await push('one', 'team/app:v1', closed, '--dest-creds', 'user:secret');
    const reference = `${closed.host}/team/app:v1`;
    vi.stubEnv('DOCKER_CONFIG', scratch.file('docker'));
    await mkdir(scratch.file('docker'));
    const login = async (password: string) => {
      const auth = Buffer.from(`user:${password}`).toString('base64');
      await writeFile(scratch.file('docker', 'config.json'), JSON.stringify({ auths: { [closed.host]: { auth } } }));
    };
    await login('wrong');
    const error = await pullRoot(reference, scratch.file('closed')).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'IMAGE_PULL_FAILED', details: { reason: 'unauthorized' } });
    expect(JSON.stringify([error, (error as Error).message])).not.toContain('wrong');
    await login('secret');
    const { path } = await pullRoot(reference, scratch.file('closed'));
    expect(await fileInRoot(path, 'app')).toBe('one');
  });

  it.runIf(process.getuid?.() === 0)('says that the disk is full, and works again when there is room', async () => {
    const disk = scratch.file('disk');
    await mkdir(disk, { mode: 0o700 });
    await run('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=0700', 'tmpfs', disk]);
    try {
      await addImage(scratch.file('layout'), 'large', { layers: [[{ name: 'noise', data: randomBytes(3_000_000) }]] });
      await push('large', 'team/large:v1');
      await writeFile(`${disk}/filler`, Buffer.alloc(2_000_000));
      const full = await pullRoot(`${registry.host}/team/large:v1`, disk).catch((reason: unknown) => reason);
      expect(full).toMatchObject({ code: 'IMAGE_PULL_FAILED', details: { reason: 'no-space' } });
      expect(await readdir(`${disk}/building`)).toEqual([]);
      await rm(`${disk}/filler`);
      const unpacking = await pullRoot(`${registry.host}/team/large:v1`, disk).catch((reason: unknown) => reason);
      expect(unpacking).toMatchObject({ message: expect.stringMatching(/no space left on device/i) });
      expect(await readdir(`${disk}/building`)).toEqual([]);
      await run('mount', ['-o', 'remount,size=64m', disk]);
      const { path } = await pullRoot(`${registry.host}/team/large:v1`, disk);
      expect((await stat(path)).size).toBeGreaterThan(3_000_000);
    } finally {
      await run('umount', [disk]);
    }
  });

  it('can be canceled, and leaves nothing but what it has', async () => {
    const abort = new AbortController();
    abort.abort();
    const pulling = pullRoot(`${registry.host}/team/app:v1`, scratch.file('canceled'), { signal: abort.signal });
    await expect(pulling).rejects.toMatchObject({ code: 'CANCELED' });
  });
});

describe('an image in a file', () => {
  it('is the same image as an OCI archive, as docker saves it, and in a layout with others', async () => {
    const layout = scratch.file('layout');
    const archives = ['oci-archive', 'docker-archive'].map((kind) => [kind, scratch.file(`${kind}: a.tar`)] as const);
    const roots = [await pullRoot(`${layout}#one`, scratch.file('files'))];
    for (const [kind, path] of archives) {
      const plain = scratch.file(`${kind}.tar`);
      await run('skopeo', ['copy', `oci:${layout}:one`, `${kind}:${plain}:team/app:v1`]);
      await run('mv', [plain, path]);
      roots.push(await pullRoot(path, scratch.file(kind)));
    }
    expect(new Set(roots.map(({ rootfs }) => rootfs.sha256)).size).toBe(1);
    const named = await pullRoot(`${archives[1]?.[1]}#team/app:v1`, scratch.file('docker-archive'));
    expect(named.rootfs).toEqual(roots[0]?.rootfs);
  });

  it('is refused where it is none, or the one of several is not said', async () => {
    const cache = scratch.file('none');
    await writeFile(scratch.file('text'), 'text');
    await run('tar', ['--create', '--file', scratch.file('root.tar'), '--directory', scratch.file('layout'), 'blobs']);
    await mkdir(scratch.file('empty'));
    const refused = (words: string) => ({ code: 'IMAGE_REFUSED', message: expect.stringContaining(words) });
    await expect(pullRoot(scratch.file('text'), cache)).rejects.toMatchObject(refused('is no tar archive'));
    await expect(pullRoot(scratch.file('root.tar'), cache)).rejects.toMatchObject(refused('it is no image'));
    await expect(pullRoot(scratch.file('empty'), cache)).rejects.toMatchObject(refused('no oci-layout'));
    await expect(pullRoot(scratch.file('gone'), cache)).rejects.toMatchObject({ code: 'IMAGE_PULL_FAILED' });
    await expect(pullRoot(scratch.file('layout'), cache)).rejects.toMatchObject({ code: 'IMAGE_PULL_FAILED' });
  });
});
