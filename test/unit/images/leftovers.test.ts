import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { placeArtifact } from '../../../ts/images/artifact.js';
import { BaseImageManager } from '../../../ts/images/base-image-manager.js';
import { ImageManager } from '../../../ts/images/image-manager.js';
import { holdPart, sweepParts } from '../../../ts/images/parts.js';
import { pruneData } from '../../../ts/images/prune.js';
import { lockBuild } from '../../../ts/images/store/build-lock.js';
import { PACKAGE_ROOT } from '../../../ts/util/package-root.js';
import { currentProcess } from '../../../ts/util/process-identity.js';
import { sweepTemporaries, temporaryFor } from '../../../ts/util/temporary-file.js';
import { evaluated, killed } from '../../support/evaluated.js';
import { rangeServer } from '../../support/range-server.js';
import { type ScratchDirectory, scratchDirectory } from '../../support/scratch.js';

let scratch: ScratchDirectory;

beforeEach(async () => {
  scratch = await scratchDirectory();
});
afterEach(() => scratch[Symbol.asyncDispose]());

const prune = (dryRun = false) => {
  const imageManager = new ImageManager({ cacheDir: scratch.file('images') });
  const baseImageManager = new BaseImageManager({ cacheDir: scratch.file('base-images') });
  return pruneData(scratch.path, { imageManager, baseImageManager }, { dryRun });
};

describe('what is left of transfers', () => {
  const DATA = Buffer.alloc(3_000_000, 'x');

  /** Fetches to a folder of parts, and is canceled when all but the end has come. */
  async function canceled(partsFolder: string): Promise<void> {
    await using server = await rangeServer(DATA);
    server.next = (_request, response) => {
      response.writeHead(200, { 'content-length': DATA.length, etag: '"1"' });
      response.write(DATA.subarray(0, 2_000_000));
    };
    const abort = new AbortController();
    const fetching = placeArtifact({ url: server.url('/a'), fileName: 'a' }, scratch.file('target'), {
      ...{ maxBytes: DATA.length, partsFolder, signal: abort.signal },
      onProgress: ({ receivedBytes = 0 }) => receivedBytes === 2_000_000 && abort.abort(),
    });
    await expect(fetching).rejects.toMatchObject({ code: 'CANCELED' });
  }

  test.each(['images/parts', 'base-images/.parts'])(
    'below %s is there for the next one, until it is pruned',
    async (name) => {
      const folder = scratch.file(name);
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await canceled(folder);
      const left = (await readdir(folder)).toSorted();
      expect(left).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/), `${left[0]}.json`, `${left[0]}.lock`]);
      const removed = [{ kind: 'image-transfer', name: join(folder, left[0] ?? ''), sizeBytes: expect.any(Number) }];
      expect(await prune(true)).toEqual(removed);
      expect((await readdir(folder)).toSorted()).toEqual(left);
      expect(await prune()).toEqual(removed);
      expect(removed[0]?.sizeBytes).toBeDefined();
      expect(await readdir(folder)).toEqual([]);
      expect(await prune()).toEqual([]);
    },
  );

  test('that a transfer goes on with now stays', async () => {
    const folder = scratch.file('parts');
    {
      await using part = await holdPart(folder, 'https://images.test/a');
      await writeFile(part.path, 'so far');
      expect(await sweepParts(folder)).toEqual([]);
      expect(await readdir(folder)).toHaveLength(2);
    }
    expect(await sweepParts(folder)).toMatchObject([{ sizeBytes: 6 }]);
  });

  test('is nothing where one has come to its end', async () => {
    await using server = await rangeServer(DATA);
    const partsFolder = scratch.file('parts');
    await placeArtifact({ url: server.url('/a'), fileName: 'a' }, scratch.file('target'), {
      ...{ maxBytes: DATA.length, partsFolder },
    });
    expect(await readdir(partsFolder)).toEqual([]);
  });
});

describe('what is left of files that were being written', () => {
  test('is told by who was writing: the dead, and those of another boot', async () => {
    const { pid, startTime, bootId } = currentProcess();
    const boot = bootId.slice(0, 8);
    const others = [`${pid}-${Number(startTime) + 1}-${boot}`, `999999999-1-${boot}`, `${pid}-${startTime}-00000000`];
    const dead = others.map((writer) => `a.json.${writer}-0123abcd.tmp`);
    const kept = ['a.json', 'a.json.tmp', 'b.tmp', `c.${pid}-x.tmp`];
    await Promise.all([...dead, ...kept].map((name) => writeFile(scratch.file(name), 'x')));
    await writeFile(temporaryFor(scratch.file('a.json')), 'mine');
    expect((await sweepTemporaries(scratch.path, true)).map(({ path }) => path).toSorted()).toEqual(
      dead.map((name) => scratch.file(name)).toSorted(),
    );
    expect(await sweepTemporaries(scratch.path)).toHaveLength(3);
    expect(await readdir(scratch.path)).toHaveLength(kept.length + 1);
    expect(await sweepTemporaries(scratch.file('absent'))).toEqual([]);
  });

  test('is pruned once its writer is dead, wherever in the data it is', async () => {
    const folders = ['', 'images/manifests', 'images/blobs/checked', 'images/oci/roots', 'base-images/.presets'];
    await Promise.all(folders.map((name) => mkdir(scratch.file(name), { recursive: true, mode: 0o700 })));
    await mkdir(scratch.file('base-images/mine'));
    const paths = [...folders, 'base-images/mine'].map((name) => scratch.file(name, 'programs.json'));
    const script = `import(${JSON.stringify(join(PACKAGE_ROOT, 'ts/util/temporary-file.ts'))}).then(async ({ temporaryFor }) => {
      for (const path of ${JSON.stringify(paths)}) {
        (await import('node:fs')).writeFileSync(temporaryFor(path), 'half');
      }
      console.log('written');
      setInterval(() => undefined, 1000);
    })`;
    const writer = await evaluated(script);
    try {
      expect(await prune()).toEqual([]);
    } finally {
      await killed(writer);
    }
    const removed = await prune();
    expect(removed.map(({ kind, sizeBytes }) => `${kind} ${sizeBytes}`)).toEqual(paths.map(() => 'temporary-file 4'));
    expect(await prune()).toEqual([]);
  });
});

test('a base image half made goes when nobody makes it any more', async () => {
  const cacheDir = scratch.file('base-images');
  const half = join(cacheDir, '.mine.building-01234567-89ab-cdef-0123-456789abcdef');
  await mkdir(half, { recursive: true });
  {
    await using _lock = await lockBuild(join(cacheDir, '.locks'), 'mine', { what: 'it', onProgress: () => undefined });
    expect(await prune()).toEqual([]);
  }
  expect(await prune()).toEqual([{ kind: 'image-build', name: half, sizeBytes: 0 }]);
  expect(await readdir(cacheDir)).toEqual(['.locks']);
});
