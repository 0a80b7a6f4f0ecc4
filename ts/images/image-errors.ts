import { SmartVMError } from '../errors.js';
import type { ImageManifest } from './store/manifests.js';

/** What keeps an image from being put into its folder: a disk that is full, or can only be read, and the like. */
export function unwritable(cause: unknown, cacheDir: string): SmartVMError {
  return cause instanceof SmartVMError
    ? cause
    : new SmartVMError('FILE_WRITE_FAILED', `cannot put an image into ${cacheDir}: ${(cause as Error).message}`, {
        cause,
      });
}

export function layerMismatch({ name, digest }: ImageManifest): SmartVMError {
  const message = `the image of the layer, ${name} (${digest}), is damaged or was removed`;
  return new SmartVMError('LAYER_MISMATCH', message, { details: { name, digest } });
}
