import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { BaseImageManager } from '../ts/images/base-image-manager.js';
import { ImageStore } from '../ts/images/store/image-store.js';
import { download } from '../ts/util/download.js';
import { run } from '../ts/util/run.js';
import { percentile } from './statistics.js';

/**
 * npm run bench:images [-- MiB]: what a cached bundle costs, for a small and for a large root file system; and what it takes to fetch,
 * verify and keep a file of that many MiB (1,024) from loopback, against `curl -o` plus `sha256sum` in a pipe. The two take turns.
 */
const ROUNDS = 3;
/** In a thread of its own: what is measured has one for itself. */
const SERVER = `
  const { parentPort, workerData: { path, size } } = require('node:worker_threads');
  const server = require('node:http').createServer((request, response) => {
    response.writeHead(200, { 'content-length': size });
    require('node:fs').createReadStream(path, { highWaterMark: 1 << 20 }).pipe(response);
  });
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;
const mib = Number(process.argv[2] ?? 1024);
const folder = await mkdtemp(join(tmpdir(), 'smartvm-bench-'));
const file = (name: string) => join(folder, name);

async function randomFile(path: string, sizeMib: number): Promise<string> {
  const output = await open(path, 'wx');
  const hash = createHash('sha256');
  const block = randomBytes(1 << 20);
  for (let count = 0; count < sizeMib; count++) {
    block.writeUInt32LE(count);
    hash.update(block);
    await output.writeFile(block);
  }
  await output.close();
  return hash.digest('hex');
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

async function cachedBundle(sizeMib: number): Promise<number> {
  const rootfs = file(`root-${sizeMib}`);
  const sha256 = await randomFile(rootfs, sizeMib);
  await writeFile(file('kernel'), 'kernel');
  const manifest = {
    ...{ schemaVersion: 1, bundleId: `bench-${sizeMib}`, arch: 'x86_64', firecrackerVersion: 'v1.16.1' },
    ...{ rootfsType: 'squashfs', kernel: { path: file('kernel') }, rootfs: { path: rootfs, sha256 } },
  };
  const manifestPath = file(`${sizeMib}.json`);
  await writeFile(manifestPath, JSON.stringify(manifest));
  const manager = new BaseImageManager({ cacheDir: file('cache'), arch: 'x86_64' });
  await manager.ensureBaseImage({ manifestPath });
  const times: number[] = [];
  for (let round = 0; round < 50; round++) {
    times.push(await timed(() => manager.ensureBaseImage({ manifestPath })));
  }
  return percentile(times, 50);
}

async function fetchAndKeep(url: string, sha256: string): Promise<void> {
  const root = file('store');
  const store = new ImageStore(root);
  await using session = await store.openSession('bench');
  const target = session.newFile();
  const got = await download(url, target, { maxBytes: 64 * 1024 ** 3, sha256 });
  await session.putHashed(target, got.sha256);
}

async function byHand(url: string): Promise<void> {
  const script = 'set -o pipefail; curl -sS "$1" | tee "$2" | sha256sum >/dev/null && sync "$2"';
  await run('bash', ['-c', script, 'bash', url, file('by-hand')]);
  await rm(file('by-hand'));
}

try {
  for (const size of [1, 256]) {
    console.log(`ensureBaseImage, cached, ${size} MiB: ${(await cachedBundle(size)).toFixed(2)} ms`);
  }
  const sha256 = await randomFile(file('artifact'), mib);
  const { size } = await stat(file('artifact'));
  const server = new Worker(SERVER, { eval: true, workerData: { path: file('artifact'), size } });
  const [port] = (await once(server, 'message')) as [number];
  const url = `http://127.0.0.1:${port}/artifact`;
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    theirs.push(await timed(() => byHand(url)));
    ours.push(await timed(() => fetchAndKeep(url, sha256)));
    await rm(file('store'), { recursive: true });
  }
  await server.terminate();
  const [mine, hand] = [percentile(ours, 50), percentile(theirs, 50)];
  console.log(
    `${mib} MiB fetched, verified and kept: ${mine.toFixed(0)} ms; curl and sha256sum: ${hand.toFixed(0)} ms`,
  );
  console.log(`ratio ${(mine / hand).toFixed(2)}`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
