import { closeSync, constants, openSync, readFileSync } from 'node:fs';

export type Accelerator = 'kvm' | 'tcg';

/**
 * KVM where it can run stock kernels. A `/dev/kvm` on a host whose processor shows neither vmx nor svm is
 * paravirtual: it opens, and stock kernels hang under it.
 */
export function chooseAccelerator(): Accelerator {
  try {
    closeSync(openSync('/dev/kvm', constants.O_RDWR));
    return process.arch === 'arm64' || /^flags\s*:.*\b(?:vmx|svm)\b/m.test(readFileSync('/proc/cpuinfo', 'latin1'))
      ? 'kvm'
      : 'tcg';
  } catch {
    return 'tcg';
  }
}
