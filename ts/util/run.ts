import { spawn } from 'node:child_process';
import { SmartVMError } from '../errors.js';

/** Debian's package for each host tool that is not part of every installation. */
const PACKAGES: Readonly<Record<string, string>> = {
  'apt-get': 'apt',
  'dpkg-deb': 'dpkg',
  mke2fs: 'e2fsprogs',
  mksquashfs: 'squashfs-tools',
  mmdebstrap: 'mmdebstrap',
  flock: 'util-linux',
  ip: 'iproute2',
  nft: 'nftables',
  'qemu-system-aarch64': 'qemu-system-arm',
  'qemu-system-x86_64': 'qemu-system-x86',
  xz: 'xz-utils',
  zstd: 'zstd',
};

const TAIL_BYTES = 4096;

export interface RunOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Written to standard input, which is otherwise empty. */
  input?: string | Uint8Array;
  signal?: AbortSignal | undefined;
  /** Called with each piece of standard error, for progress. */
  onStderr?: (text: string) => void;
}

/**
 * Runs a host tool with an argument vector, never through a shell, and gives its standard output.
 * @throws SmartVMError TOOL_MISSING with the package to install, TOOL_FAILED with the tail of its standard error, CANCELED
 */
export async function run(tool: string, args: readonly string[], options: RunOptions = {}): Promise<Buffer> {
  options.signal?.throwIfAborted();
  const child = spawn(tool, args, {
    cwd: options.cwd,
    env: { ...(options.env ?? process.env), LC_ALL: 'C.UTF-8' },
    signal: options.signal,
    killSignal: 'SIGKILL',
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const stdout: Buffer[] = [];
  let tail = '';
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => {
    const text = chunk.toString();
    tail = (tail + text).slice(-TAIL_BYTES);
    options.onStderr?.(text);
  });
  child.stdin.on('error', () => undefined); // a tool may exit without reading its input: its exit status speaks
  child.stdin.end(options.input);
  return await new Promise((resolve, reject) => {
    child.once('error', (cause: NodeJS.ErrnoException) => reject(startError(tool, cause, options.signal)));
    child.once('close', (code, signal) => {
      if (code === 0) {
        resolve(Buffer.concat(stdout));
        return;
      }
      const how = signal ? `was ended by ${signal}` : `exited with ${code}`;
      reject(
        new SmartVMError('TOOL_FAILED', `${tool} ${how}: ${tail.trim() || '(it said nothing)'}`, {
          details: { tool, args, exitCode: code, signal },
        }),
      );
    });
  });
}

function startError(tool: string, cause: NodeJS.ErrnoException, signal: AbortSignal | undefined): SmartVMError {
  if (signal?.aborted) {
    return new SmartVMError('CANCELED', `${tool} was canceled`, { cause });
  }
  if (cause.code === 'ENOENT') {
    const hint = PACKAGES[tool] ? `; install it with: apt-get install ${PACKAGES[tool]}` : '';
    return new SmartVMError('TOOL_MISSING', `${tool} is not installed${hint}`, { cause, details: { tool } });
  }
  return new SmartVMError('TOOL_FAILED', `${tool} could not be started: ${cause.message}`, {
    cause,
    details: { tool },
  });
}
