import { SmartVMError } from '../errors.js';

/** Firecracker's rule for `--id`, and no hyphen first: an id is also an argument of host tools. */
const VM_ID = /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/;
/** Firecracker's rule for ids in API paths, with a length that keeps the request line far below its limit of 1,024 bytes. */
const RESOURCE_ID = /^[A-Za-z0-9_]{1,64}$/;
/** Linux's dev_valid_name(), and neither '%' (a TAP's name is a template) nor a leading '-' (it would read as an option). */
const INTERFACE_NAME = /^(?!\.{1,2}$)(?!-)(?!.*[/:%])[!-~]{1,15}$/;

export const VM_ID_RULE = 'must be 1 to 64 letters, digits or hyphens, with a letter or digit first';
export const RESOURCE_ID_RULE = 'must be 1 to 64 letters, digits or underscores';
export const INTERFACE_NAME_RULE =
  "must be 1 to 15 printable ASCII characters without space, '/', ':' and '%', not '.' or '..', with no '-' first";

/** True for a string that may name a VM: 1 to 64 letters, digits or hyphens, with a letter or digit first. */
export function isValidVmId(id: unknown): id is string {
  return typeof id === 'string' && VM_ID.test(id);
}

/** @throws SmartVMError INVALID_ID */
export function assertVmId(id: unknown): asserts id is string {
  if (!isValidVmId(id)) {
    throw new SmartVMError('INVALID_ID', `VM id ${quote(id)} ${VM_ID_RULE}`);
  }
}

/** True for a string that may name a drive or a network interface of a VM. */
export function isValidResourceId(id: unknown): id is string {
  return typeof id === 'string' && RESOURCE_ID.test(id);
}

/** True for a string that may name a network interface of the host. */
export function isValidInterfaceName(name: unknown): name is string {
  return typeof name === 'string' && INTERFACE_NAME.test(name);
}

/** In place of a TAP, for smartvm-qemu alone: it speaks for its guest itself, to the world or to nowhere. */
export const USER_NETWORKS = ['user:', 'user:none'] as const;

/** True for a string that may stand for a guest's interface on the host. */
export function isValidHostDevice(name: unknown): name is string {
  return isValidInterfaceName(name) || USER_NETWORKS.some((user) => user === name);
}

/** @throws SmartVMError INVALID_INTERFACE_NAME */
export function assertInterfaceName(name: unknown): asserts name is string {
  if (!isValidInterfaceName(name)) {
    throw new SmartVMError('INVALID_INTERFACE_NAME', `interface name ${quote(name)} ${INTERFACE_NAME_RULE}`);
  }
}

/** A value as it may stand in a message: escaped, and cut where it is long. */
export function quote(value: unknown): string {
  if (typeof value !== 'string') {
    return `(a value of type ${value === null ? 'null' : typeof value})`;
  }
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
}
