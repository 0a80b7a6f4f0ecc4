import { SmartVMError } from '../errors.js';

/** `sun_path` holds 108 bytes with the NUL. Node cuts a longer path silently and reaches whatever has the first 108. */
export const MAX_SOCKET_PATH_BYTES = 107;

/** @throws SmartVMError SOCKET_PATH_TOO_LONG */
export function assertSocketPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH_BYTES) {
    throw new SmartVMError(
      'SOCKET_PATH_TOO_LONG',
      `socket path of ${bytes} bytes is over the ${MAX_SOCKET_PATH_BYTES} that Linux allows: ${path}; use a shorter runtime directory or id`,
      { details: { path, bytes } },
    );
  }
}
