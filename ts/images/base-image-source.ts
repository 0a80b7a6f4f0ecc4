import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import { join } from 'node:path';
import { placeArtifact } from './artifact.js';
import {
  type CheckedArtifact,
  DEFAULT_BOOT_ARGS,
  MAX_KERNEL_BYTES,
  MAX_ROOTFS_BYTES,
  readHostedManifest,
  unverifiedSources,
} from './base-image-manifest.js';
import { type BaseImagePlan, planBaseImage, type Wish } from './base-image-plan.js';
import type { Arch, ImageContent } from './image-types.js';
import { moduleMembers } from './initramfs.js';
import { type ImageReference, unknownImage } from './reference.js';
import type { ImageBuild } from './sources.js';
import type { BlobRef } from './store/blobs.js';
import { Manifests } from './store/manifests.js';

/** Raised with every change to how base images become images. */
const RECIPE = 'base-image-1';

export type BaseImageReference = Extract<ImageReference, { kind: 'manifest' | 'hosted' | 'preset' }>;

/** What decides whether an image made of a base image is up to date: for a manifest of this host, it and the files without a sha256. */
export function baseImageRecipe(reference: BaseImageReference, arch: Arch): string {
  if (reference.kind !== 'manifest') {
    return RECIPE;
  }
  if (!statSync(reference.path, { throwIfNoEntry: false })) {
    throw unknownImage(reference.name, `there is no manifest ${reference.path}`);
  }
  const manifest = readHostedManifest(reference.path, arch);
  const seen = JSON.stringify([manifest, unverifiedSources(manifest)]);
  return `${RECIPE}-${createHash('sha256').update(seen).digest('hex')}`;
}

/**
 * Takes kernel and root file system of a base image into the store. Its kernel has all drivers built in, or is that of an image which
 * has its modules.
 * @throws SmartVMError BASE_IMAGE_MANIFEST_FAILED, INVALID_BASE_IMAGE_MANIFEST, BASE_IMAGE_ARTIFACT_FAILED, IMAGE_PART_INVALID, CANCELED
 */
export async function buildFromBaseImage(reference: BaseImageReference, build: ImageBuild): Promise<ImageContent> {
  const { arch, session, signal, onProgress } = build;
  onProgress({ step: 'manifest', message: `looking up what ${reference.name} is` });
  const plan = await planBaseImage({ ...wishOf(reference), signal }, arch, {});
  const { manifest } = plan;
  const kernel = await part(manifest.kernel, MAX_KERNEL_BYTES, plan, build);
  const rootfs = await part(manifest.rootfs, MAX_ROOTFS_BYTES, plan, build);
  return {
    kernelRelease: await kernelRelease(session.pathOf(kernel)),
    bootArgs: manifest.bootArgs ?? DEFAULT_BOOT_ARGS,
    fsType: manifest.rootfsType,
    blobs: { kernel, modules: await modulesFor(kernel, build), rootfs },
  };
}

async function part(
  artifact: CheckedArtifact,
  maxBytes: number,
  plan: BaseImagePlan,
  build: ImageBuild,
): Promise<BlobRef> {
  const { session, signal, onProgress } = build;
  const known = artifact.sha256 === undefined ? undefined : await session.keepKnown(artifact.sha256);
  if (known) {
    return known; // another image has it
  }
  const target = session.newFile();
  const partsFolder = join(session.root, 'parts');
  const sha256 = await placeArtifact(artifact, target, {
    maxBytes,
    partsFolder,
    narrowest: plan.reach,
    signal,
    onProgress,
  });
  return await session.putHashed(target, sha256);
}

async function modulesFor(kernel: BlobRef, { session }: ImageBuild): Promise<BlobRef> {
  for (const { manifest } of await new Manifests(session.root).list()) {
    const { kernel: other, modules } = manifest.blobs;
    if (other.sha256 === kernel.sha256 && (await session.keep(modules))) {
      return modules;
    }
  }
  return await session.putBytes(moduleMembers([]));
}

function wishOf(reference: BaseImageReference): Wish {
  switch (reference.kind) {
    case 'manifest':
      return { manifestPath: reference.path };
    case 'hosted':
      return { manifestUrl: reference.url };
    case 'preset':
      return { preset: reference.preset };
  }
}

/** The release as the kernel's banner has it; '' where it has none that can be read. */
async function kernelRelease(path: string): Promise<string> {
  let tail = '';
  for await (const chunk of createReadStream(path, { encoding: 'latin1', highWaterMark: 1 << 20 })) {
    const text = tail + chunk;
    const release = /Linux version (\d[\w.+-]{0,63}) /.exec(text)?.[1];
    if (release !== undefined) {
      return release;
    }
    tail = text.slice(-200);
  }
  return '';
}
