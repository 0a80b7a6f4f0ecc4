import { createHash } from 'node:crypto';
import { lstatSync, readFileSync } from 'node:fs';
import { readdir, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../../util/atomic-file.js';
import { ensurePrivateDirectory } from '../../util/private-directory.js';
import { parseSafeJson } from '../../util/safe-json.js';
import type { Arch, ImageContent } from '../image-types.js';
import { type BlobRef, isBlobRef } from './blobs.js';

const SCHEMA_VERSION = 1;
const MAX_BYTES = 1 << 20;

/** What an image is: how to boot it, and its parts by their content. Written last, so that an image which has one is whole. */
export interface ImageManifest extends ImageContent {
  readonly schemaVersion: number;
  /** The reference by which it was asked for. */
  readonly name: string;
  readonly arch: Arch;
  /** What decided its content: an image of another recipe is out of date. */
  readonly recipe: string;
  /** `sha256:…` of all that a VM sees of it. */
  readonly digest: string;
  readonly createdAt: string;
}

/** How a manifest's file is called, without `.json`: readable, and different for whatever differs. */
export function manifestKey(name: string, identity: string, arch: Arch): string {
  const slug = name
    .replace(/[^A-Za-z0-9.]+/g, '-')
    .replace(/^[-.]+/, '')
    .slice(0, 40);
  const hash = createHash('sha256').update(JSON.stringify([identity, arch]));
  return `${slug}-${arch}-${hash.digest('hex').slice(0, 16)}`;
}

export function makeManifest(
  identity: { name: string; arch: Arch; recipe: string },
  content: ImageContent,
): ImageManifest {
  const { kernelRelease, bootArgs, fsType, blobs, source: _source, inputs: _told, ...more } = content;
  const parts = Object.entries(blobs).map(([role, { sha256 }]) => [role, sha256]);
  const seen = JSON.stringify([identity.arch, kernelRelease, bootArgs, fsType, parts.sort(), more]);
  const digest = `sha256:${createHash('sha256').update(seen).digest('hex')}`;
  return { schemaVersion: SCHEMA_VERSION, ...identity, digest, createdAt: new Date().toISOString(), ...content };
}

/** Whether a value, parsed from what this version wrote, is all of a manifest. */
export function isManifest(value: unknown): value is ImageManifest {
  const { schemaVersion, name, digest, blobs } = (value ?? {}) as Partial<ImageManifest>;
  const isWhole = schemaVersion === SCHEMA_VERSION && typeof name === 'string' && typeof digest === 'string';
  return isWhole && Object.values(blobs ?? {}).every(isBlobRef) && blobs?.rootfs !== undefined;
}

/** The manifests of a store. Their files' times of change say when each image was last used. */
export class Manifests {
  readonly directory: string;

  constructor(root: string) {
    this.directory = join(root, 'manifests');
  }

  pathOf(key: string): string {
    return join(this.directory, `${key}.json`);
  }

  /** undefined: absent, or none that this version wrote. */
  read(key: string): ImageManifest | undefined {
    const stat = lstatSync(this.pathOf(key), { throwIfNoEntry: false });
    if (!stat?.isFile() || stat.size > MAX_BYTES) {
      return undefined;
    }
    try {
      const manifest = parseSafeJson(readFileSync(this.pathOf(key), 'utf8')) as ImageManifest;
      return isManifest(manifest) ? manifest : undefined;
    } catch {
      return undefined;
    }
  }

  async write(key: string, manifest: ImageManifest): Promise<void> {
    await ensurePrivateDirectory(this.directory);
    await writeFileAtomic(this.pathOf(key), `${JSON.stringify(manifest, null, 2)}\n`);
  }

  async remove(key: string): Promise<void> {
    await rm(this.pathOf(key), { force: true });
  }

  async list(): Promise<{ readonly key: string; readonly manifest: ImageManifest; readonly usedAt: Date }[]> {
    const keys = (await readdir(this.directory).catch(() => []))
      .filter((name) => name.endsWith('.json'))
      .map((name) => name.slice(0, -'.json'.length))
      .toSorted();
    return keys.flatMap((key) => {
      const manifest = this.read(key);
      const stat = lstatSync(this.pathOf(key), { throwIfNoEntry: false });
      return manifest && stat ? [{ key, manifest, usedAt: stat.mtime }] : [];
    });
  }

  /** Notes that the image was used now. */
  async touch(key: string): Promise<void> {
    const now = new Date();
    await utimes(this.pathOf(key), now, now).catch(() => undefined); // removed meanwhile: nobody asks when it was used
  }
}

export function blobsOf(manifest: ImageManifest): BlobRef[] {
  return Object.values(manifest.blobs);
}
