import { SmartVMError } from '../../errors.js';
import type { Owner } from './types.js';

/** A failure of the host's side, with what it was of. */
export function hostFailure(error: unknown, path: Uint8Array | string): SmartVMError {
  if (error instanceof SmartVMError) {
    return error;
  }
  const { code, message } = error as NodeJS.ErrnoException;
  const shown = Buffer.from(path).toString();
  return new SmartVMError('HOST_FILE_FAILED', `a file of the host could not be moved: ${message}`, {
    cause: error,
    details: { path: shown, errno: code },
  });
}

/** @throws SmartVMError INVALID_OPTION */
export function assertMode(mode: number | undefined): void {
  if (mode !== undefined && !(Number.isInteger(mode) && mode >= 0 && mode <= 0o7777)) {
    throw new SmartVMError('INVALID_OPTION', `a mode is a whole number of 0 to 0o7777, not ${mode}`);
  }
}

/** @throws SmartVMError INVALID_OPTION */
export function assertOwner(owner: Partial<Owner> | undefined): void {
  for (const id of [owner?.uid, owner?.gid]) {
    if (id !== undefined && !(Number.isInteger(id) && id >= 0 && id < 2 ** 32 - 1)) {
      throw new SmartVMError('INVALID_OPTION', `an owner is given by whole numbers of 0 to 4294967294, not ${id}`);
    }
  }
}
