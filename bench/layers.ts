// `npm run bench:layers`: how long it takes to make a VM's layer, beside a bare `cp` of an empty file.
import { mkdtempSync, rmSync } from 'node:fs';
import { rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { canReflink, fillLayer } from '../ts/images/layers/fill.js';
import { createEmpty } from '../ts/images/overlay.js';
import { run } from '../ts/util/run.js';
import { print } from './statistics.js';

const RUNS = 20;
const SIZE_MIB = 2048;

async function time(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

const directory = mkdtempSync(join(tmpdir(), 'smartvm-bench-'));
process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
const rootfs = join(directory, 'rootfs');
const path = join(directory, 'layer');
const empty = join(directory, 'empty');
await writeFile(rootfs, '');
await truncate(rootfs, SIZE_MIB * 1024 * 1024);
await run('mke2fs', ['-q', '-F', '-t', 'ext4', rootfs]);
await writeFile(empty, '');

const kinds = (await canReflink(rootfs, directory)) ? (['overlay', 'reflink'] as const) : (['overlay'] as const);
for (const kind of kinds) {
  const times: { ours: number[]; baseline: number[] } = { ours: [], baseline: [] };
  for (let round = 0; round <= RUNS; round++) {
    const fill = { kind, rootfs, cacheDir: join(directory, 'cache'), format: 'passing', sizeMib: SIZE_MIB } as const;
    const ours = await time(() => createEmpty(path).then(() => fillLayer(path, fill)));
    await rm(path);
    const baseline = await time(() => run('cp', ['--', empty, path]));
    await rm(path);
    if (round > 0) {
      times.ours.push(ours); // the first makes the template
      times.baseline.push(baseline);
    }
  }
  print({
    name: `${kind} of 2 GiB`,
    ours: times.ours,
    baseline: { name: 'cp of an empty file', times: times.baseline },
  });
}
