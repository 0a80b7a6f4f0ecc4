import { isUtf8 } from 'node:buffer';
import { SmartVMError } from '../../errors.js';
import type { GuestPath } from './types.js';

/** PATH_MAX is 4096 with the NUL. */
const MAX_BYTES = 4095;

/** A path of the guest as a request has it. @throws SmartVMError INVALID_OPTION */
export function pathField(path: GuestPath): string {
  const bytes = bytesOf(path);
  if (bytes[0] !== 0x2f) {
    throw new SmartVMError('INVALID_OPTION', `a path in the guest is absolute, not '${shown(path)}'`);
  }
  return checked(bytes, path);
}

/** Where a link leads, as a request has it. @throws SmartVMError INVALID_OPTION */
export function targetField(target: GuestPath): string {
  return checked(bytesOf(target), target);
}

function checked(bytes: Buffer, path: GuestPath): string {
  if (bytes.length === 0 || bytes.length > MAX_BYTES || bytes.includes(0)) {
    throw new SmartVMError('INVALID_OPTION', `a path has 1 to ${MAX_BYTES} bytes without NUL, not '${shown(path)}'`);
  }
  return bytes.toString('base64');
}

export function bytesOf(path: GuestPath): Buffer {
  return typeof path === 'string' ? Buffer.from(path) : Buffer.from(path.buffer, path.byteOffset, path.byteLength);
}

/** A path out of bytes: a string, unless that would lose something. */
export function pathOf(bytes: Buffer): GuestPath {
  return isUtf8(bytes) ? bytes.toString() : bytes;
}

/** For messages. */
export function shown(path: GuestPath): string {
  return bytesOf(path).subarray(0, MAX_BYTES).toString();
}
