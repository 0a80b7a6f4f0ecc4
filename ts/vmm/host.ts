import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hostArch } from '../util/arch.js';

export { type Arch, hostArch } from '../util/arch.js';

/** Asked once: the kernel writes /proc/cpuinfo anew at each reading, which takes milliseconds on hosts of many CPUs. */
const VIRTUALISES = new Map<string, Promise<boolean>>();

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
  const virtualises = VIRTUALISES.get(root) ?? cpuVirtualises(join(root, 'proc/cpuinfo'));
  VIRTUALISES.set(root, virtualises);
  return (await virtualises)
    ? undefined
    : '/dev/kvm opens, but the CPU shows neither vmx nor svm (a paravirtual KVM, under which stock kernels hang)';
}

async function cpuVirtualises(path: string): Promise<boolean> {
  return /^flags\s*:.*\b(?:vmx|svm)\b/m.test(await readFile(path, 'utf8'));
}
