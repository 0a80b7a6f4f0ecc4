import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Descriptor } from './manifest.js';

const LOOK_MS = 250;
/** What skopeo writes a blob to, in the layout, until it is whole. */
const PARTIAL = /^oci-put-blob/;

export interface FetchWatch {
  readonly layers: readonly Descriptor[];
  /** Where a blob is once it has come. */
  readonly pathOf: (digest: string) => string;
  /** Takes what comes meanwhile. */
  readonly layout: string;
  readonly tell: (receivedBytes: number, totalBytes: number) => void;
}

/** Tells, while skopeo fetches an image, how much has come of those layers that are not there yet. It says so nowhere itself. */
export function watchFetch({ layers, pathOf, layout, tell }: FetchWatch): Disposable {
  const sizes = new Map(layers.map(({ digest, size }) => [digest, size]));
  const missing = [...sizes].filter(([digest]) => sizeAt(pathOf(digest)) === undefined);
  const total = sum(missing.map(([, size]) => size));
  const look = () => {
    const whole = missing.filter(([digest]) => sizeAt(pathOf(digest)) !== undefined).map(([, size]) => size);
    tell(Math.min(total, sum(whole) + sum(partialSizes(layout))), total);
  };
  const looking = total > 0 ? setInterval(look, LOOK_MS) : undefined;
  return { [Symbol.dispose]: () => clearInterval(looking) };
}

function partialSizes(layout: string): number[] {
  try {
    const names = readdirSync(layout).filter((name) => PARTIAL.test(name));
    return names.map((name) => sizeAt(join(layout, name)) ?? 0);
  } catch {
    return []; // it is made in a moment
  }
}

function sizeAt(path: string): number | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.size;
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total + size, 0);
}
