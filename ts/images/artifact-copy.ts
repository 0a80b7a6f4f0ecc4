import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { SmartVMError } from '../errors.js';
import { withBoundedFile } from '../util/bounded-file.js';
import { throwIfCanceled } from '../util/deadline.js';
import type { CheckedArtifact } from './base-image-manifest.js';

const CHUNK_BYTES = 1 << 20;

export interface CopyOptions {
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Copies a local artifact, hashing what it copies, and brings it to the disk.
 * @param target must not exist; the caller removes it on failure
 * @returns the sha256 of the bytes written
 * @throws SmartVMError BASE_IMAGE_ARTIFACT_FAILED, CANCELED
 */
export async function copyArtifact(artifact: CheckedArtifact, target: string, options: CopyOptions): Promise<string> {
  const { path = '' } = artifact;
  try {
    const rules = { maxBytes: options.maxBytes, followLink: false };
    return await withBoundedFile(path, rules, async (source, size) => {
      if (artifact.sizeBytes !== undefined && artifact.sizeBytes !== size) {
        throw new Error(`it has ${size} bytes, not the ${artifact.sizeBytes} of the manifest`);
      }
      const sha256 = await copyHashed(source, size, target, options.signal);
      if (artifact.sha256 !== undefined && artifact.sha256 !== sha256) {
        throw new Error(`its sha256 is ${sha256}, not the ${artifact.sha256} of the manifest`);
      }
      return sha256;
    });
  } catch (cause) {
    if (cause instanceof SmartVMError) {
      throw cause;
    }
    throw new SmartVMError('BASE_IMAGE_ARTIFACT_FAILED', `cannot take ${path}: ${(cause as Error).message}`, { cause });
  }
}

async function copyHashed(source: FileHandle, size: number, target: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  const output = await open(target, 'wx', 0o600);
  try {
    let copied = 0;
    for (;;) {
      throwIfCanceled(signal, `copying to ${target}`);
      const { bytesRead } = await source.read(buffer, 0, CHUNK_BYTES, copied);
      if (bytesRead === 0) {
        break;
      }
      copied += bytesRead;
      if (copied > size) {
        break; // it grows while it is read
      }
      hash.update(buffer.subarray(0, bytesRead));
      await output.writeFile(buffer.subarray(0, bytesRead));
    }
    if (copied !== size) {
      throw new Error('it changed while it was copied');
    }
    await output.sync();
    return hash.digest('hex');
  } finally {
    await output.close();
  }
}
