import { join } from 'node:path';
import { defaultDataDir } from '../../config/directories.js';
import { SmartVMError } from '../../errors.js';
import { BaseImageManager } from '../../images/base-image-manager.js';
import { ImageManager, type StoredImage } from '../../images/image-manager.js';
import { pruneData } from '../../images/prune.js';
import { parseReference } from '../../images/reference.js';
import { watchInterrupts } from '../interrupt.js';
import { printableJson } from '../printable.js';
import { forEach } from '../vms/each.js';
import { parseFormat, renderRows } from '../vms/format.js';
import { printLines } from '../vms/output.js';
import { styleOf } from '../vms/style.js';
import { bytesInWords } from '../vms/words.js';
import { ProgressPrinter } from './progress.js';
import { findImage, imageColumns, imageRow } from './rows.js';

export interface ListOptions {
  readonly format?: string | undefined;
  readonly quiet?: boolean | undefined;
}

const manager = () => new ImageManager({ cacheDir: join(defaultDataDir(), 'images') });

export async function listImages({ format, quiet }: ListOptions): Promise<number> {
  const parsed = parseFormat(format);
  const images = await manager().list();
  if (quiet) {
    return await printLines(images.map(({ digest }) => digest));
  }
  const style = styleOf(process.stdout);
  const rows = images.map((image) => imageRow(image));
  return await printLines(renderRows(parsed, imageColumns(style), rows, style));
}

export async function pullImages(references: readonly string[], { quiet }: { quiet?: boolean }): Promise<number> {
  using interrupt = watchInterrupts();
  using progress = new ProgressPrinter();
  const { signal } = interrupt;
  const images = manager();
  const exitCode = await forEach(references, async (reference) => {
    if (signal.aborted) {
      return;
    }
    try {
      const onProgress = quiet ? undefined : progress.tell;
      const { digest } = await images.resolve(reference, { signal, onProgress, refresh: true });
      progress[Symbol.dispose]();
      await printLines([digest]);
    } finally {
      progress[Symbol.dispose](); // what follows begins on a line of its own
    }
  });
  return interrupt.exitCode ?? exitCode;
}

export async function removeImages(references: readonly string[]): Promise<number> {
  return await onImages(references, async (images, image) => {
    await images.remove(image);
    await printLines([image.name]);
  });
}

/** All of what is kept of images, as a JSON array, as docker has it. */
export async function inspectImages(references: readonly string[]): Promise<number> {
  const documents: object[] = [];
  const exitCode = await onImages(references, async (images, image) => {
    const manifest = images.inspect(image);
    const { lastUsedAt, sizeBytes, ownBytes, usedBy } = image;
    const blobs = Object.entries(manifest?.blobs ?? {}).map(([role, blob]) => [
      role,
      { ...blob, path: images.pathOf(blob.sha256) },
    ]);
    documents.push({ ...manifest, blobs: Object.fromEntries(blobs), lastUsedAt, sizeBytes, ownBytes, usedBy });
  });
  return Math.max(exitCode, await printLines([printableJson(documents, 2)]));
}

export async function pruneImages({ dryRun }: { dryRun?: boolean }): Promise<number> {
  const dataDir = defaultDataDir();
  const baseImageManager = new BaseImageManager({ cacheDir: join(dataDir, 'base-images') });
  const things = await pruneData(dataDir, { imageManager: manager(), baseImageManager }, { dryRun });
  const bytes = things.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const verb = dryRun ? 'would be removed' : 'removed';
  return await printLines([...things.map(({ kind, name }) => `${kind} ${name}`), `${bytesInWords(bytes)} ${verb}`]);
}

/** Hashes every part of the images that are named, or of all. */
export async function verifyImages(references: readonly string[]): Promise<number> {
  const all = references.length > 0 ? references : (await manager().list()).map(({ digest }) => digest);
  return await onImages([...new Set(all)], async (images, image) => {
    const bad = await images.verify(image);
    if (bad && bad.length > 0) {
      const parts = bad.join(', ');
      throw new SmartVMError(
        'IMAGE_PART_INVALID',
        `image ${image.name} is damaged (${parts}); it is made again at its next use`,
      );
    }
    await printLines([`${image.name}: whole`]);
  });
}

async function onImages(
  references: readonly string[],
  act: (images: ImageManager, image: StoredImage) => Promise<void>,
): Promise<number> {
  const images = manager();
  return await forEach(references, async (reference) =>
    act(images, findImage(await images.list(), reference, canonicalName)),
  );
}

function canonicalName(reference: string): string | undefined {
  try {
    return parseReference(reference).name;
  } catch {
    return undefined; // a digest, or nothing
  }
}
