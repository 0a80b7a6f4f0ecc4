import { stat } from 'node:fs/promises';
import { basename, join, posix } from 'node:path';
import { isSmartVMError, SmartVMError } from '../../errors.js';
import type { TransferOptions, TransferResult } from '../../guest/files/types.js';
import type { MicroVM } from '../../vm/micro-vm.js';
import { watchInterrupts } from '../interrupt.js';
import { printableLine } from '../printable.js';
import { reportNotice } from '../report.js';
import { attachTo, findRunningVm } from '../vms/attached.js';

/** One side of a copy. */
interface Place {
  /** Undefined on the host. */
  readonly vm: string | undefined;
  readonly path: string;
}

/** Copies between the host and a VM, and gives the exit code. @throws SmartVMError */
export async function copy(source: string, target: string, options: { parents?: boolean }): Promise<number> {
  const [from, to] = [placeOf(source), placeOf(target)];
  const reference = from.vm ?? to.vm;
  if (reference === undefined || (from.vm !== undefined && to.vm !== undefined)) {
    throw new SmartVMError(
      'INVALID_OPTION',
      'one of source and target is of a VM, as VM:PATH, and the other of the host',
    );
  }
  using interrupt = watchInterrupts();
  try {
    await using vm = await attachTo(findRunningVm(reference), interrupt.signal);
    const transfer: TransferOptions = { parents: options.parents, signal: interrupt.signal };
    const { skipped } = await (from.vm === undefined
      ? upload(vm, from.path, to.path, transfer)
      : download(vm, from.path, to.path, transfer));
    for (const { path, errno } of skipped) {
      reportNotice(`left out ${printableLine(path)}: ${errno}`);
    }
    return interrupt.exitCode ?? 0;
  } catch (error) {
    if (interrupt.exitCode !== undefined) {
      return interrupt.exitCode;
    }
    throw error;
  }
}

/** What stands before the first colon is a VM, unless that is within a path. */
export function placeOf(text: string): Place {
  const [, vm, path = ''] = /^([^/.:][^/:]*):(.*)$/s.exec(text) ?? [];
  return vm === undefined ? { vm, path: text } : { vm, path };
}

async function upload(vm: MicroVM, from: string, to: string, options: TransferOptions): Promise<TransferResult> {
  const directory = posix.resolve('/', to);
  const name = nameOf(from);
  const isInto = name !== undefined && (await isDirectoryOfGuest(vm, directory));
  return await vm.files.upload(from, isInto ? posix.join(directory, name) : directory, options);
}

async function download(vm: MicroVM, from: string, to: string, options: TransferOptions): Promise<TransferResult> {
  const name = nameOf(from);
  const isInto = name !== undefined && (await isDirectory(to));
  return await vm.files.download(posix.resolve('/', from), isInto ? join(to, name) : to, options);
}

/** Undefined where it is the content that is meant. */
function nameOf(source: string): string | undefined {
  const name = basename(source);
  return ['', '.', '..'].includes(name) ? undefined : name;
}

async function isDirectory(path: string): Promise<boolean> {
  return await stat(path).then(
    (status) => status.isDirectory(),
    () => false,
  );
}

async function isDirectoryOfGuest(vm: MicroVM, path: string): Promise<boolean> {
  try {
    return (await vm.files.stat(path, { follow: true })).type === 'directory';
  } catch (error) {
    if (isSmartVMError(error, 'GUEST_FILE_FAILED')) {
      return false; // the copy itself says what is wrong
    }
    throw error;
  }
}
