import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export type Arch = 'x86_64' | 'aarch64';

/** This host's architecture by Linux's name. */
export function hostArch(): Arch {
  return process.arch === 'arm64' ? 'aarch64' : 'x86_64';
}

/**
 * Why KVM cannot run guests here, or undefined when it can. A device that opens is not enough: under a hypervisor's
 * paravirtual KVM, whose CPU shows neither `vmx` nor `svm`, stock kernels hang.
 *
 * @param root what stands for `/`
 */
export async function kvmProblem(root = '/'): Promise<string | undefined> {
  try {
    await access(join(root, 'dev/kvm'), constants.R_OK | constants.W_OK);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
      ? '/dev/kvm does not exist (enable virtualisation in the firmware, or load kvm_intel or kvm_amd)'
      : '/dev/kvm cannot be opened by this user (add it to the group kvm)';
  }
  if (hostArch() === 'aarch64') {
    return undefined;
  }
  const cpuinfo = await readFile(join(root, 'proc/cpuinfo'), 'utf8');
  return /^flags\s*:.*\b(?:vmx|svm)\b/m.test(cpuinfo)
    ? undefined
    : '/dev/kvm opens, but the CPU shows neither vmx nor svm (a paravirtual KVM, under which stock kernels hang)';
}
