import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';

/** Where images are kept: `SMARTVM_DATA_DIR`, else `/var/lib/smartvm` for root and the user's data home for others. */
export function defaultDataDir(): string {
  return (
    process.env.SMARTVM_DATA_DIR ??
    (isRoot() ? '/var/lib/smartvm' : join(process.env.XDG_DATA_HOME ?? join(homedir(), '.local/share'), 'smartvm'))
  );
}

/**
 * Where running VMs have their directories: `SMARTVM_RUNTIME_DIR`, else what the system empties at boot:
 * `/run/smartvm` for root, `$XDG_RUNTIME_DIR/smartvm` for others, and a folder of one's own in the temporary
 * directory where there is none. Socket paths have 107 bytes, so these are short.
 */
export function defaultRuntimeDir(): string {
  const ownDir = process.env.XDG_RUNTIME_DIR
    ? join(process.env.XDG_RUNTIME_DIR, 'smartvm')
    : join(tmpdir(), `smartvm-${process.getuid?.()}`);
  return process.env.SMARTVM_RUNTIME_DIR ?? (isRoot() ? '/run/smartvm' : ownDir);
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}
