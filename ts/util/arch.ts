export type Arch = 'x86_64' | 'aarch64';

/** This host's architecture by Linux's name. */
export function hostArch(): Arch {
  return process.arch === 'arm64' ? 'aarch64' : 'x86_64';
}
