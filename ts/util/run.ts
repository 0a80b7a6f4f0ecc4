import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { SmartVMError } from '../errors.js';
import { throwIfCanceled } from './deadline.js';
import { withoutCredentials } from './redact.js';

/** Debian's package for each host tool that is not part of every installation. */
const PACKAGES: Readonly<Record<string, string>> = {
  'apt-get': 'apt',
  depmod: 'kmod',
  'dpkg-deb': 'dpkg',
  mke2fs: 'e2fsprogs',
  mksquashfs: 'squashfs-tools',
  mmdebstrap: 'mmdebstrap',
  flock: 'util-linux',
  gzip: 'gzip',
  ip: 'iproute2',
  du: 'coreutils',
  newuidmap: 'uidmap',
  nft: 'nftables',
  'qemu-system-aarch64': 'qemu-system-arm',
  'qemu-system-x86_64': 'qemu-system-x86',
  prlimit: 'util-linux',
  setpriv: 'util-linux',
  skopeo: 'skopeo',
  tar: 'tar',
  umoci: 'umoci',
  unshare: 'util-linux',
  xz: 'xz-utils',
  zstd: 'zstd',
};

const TAIL_BYTES = 4096;
/** How long output may still come when a tool has exited. */
const DRAIN_MS = 2_000;

export interface RunOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Written to standard input, which is otherwise empty. */
  input?: string | Uint8Array;
  signal?: AbortSignal | undefined;
  /** More on standard output ends the tool: its output is held in memory. */
  maxOutputBytes?: number;
  /** Called with each piece of standard error, for progress. */
  onStderr?: (text: string) => void;
}

/**
 * Runs a host tool with an argument vector, never through a shell, and gives its standard output.
 * @throws SmartVMError TOOL_MISSING with the package to install, TOOL_FAILED with the tail of its standard error, CANCELED
 */
export async function run(tool: string, args: readonly string[], options: RunOptions = {}): Promise<Buffer> {
  throwIfCanceled(options.signal, tool);
  const environment = options.env ?? process.env;
  const child = spawn(tool, args, {
    cwd: options.cwd,
    env: { ...environment, PATH: toolFolders(environment).join(':'), LC_ALL: 'C.UTF-8' },
    signal: options.signal,
    killSignal: 'SIGKILL',
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const stdout: Buffer[] = [];
  const { maxOutputBytes = Number.POSITIVE_INFINITY } = options;
  let [tail, outputBytes] = ['', 0];
  child.stdout.on('data', (chunk: Buffer) => {
    outputBytes += chunk.length;
    outputBytes > maxOutputBytes ? child.kill('SIGKILL') : stdout.push(chunk);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-TAIL_BYTES);
    options.onStderr?.(withoutCredentials(text));
  });
  child.stdin.on('error', () => undefined); // a tool may exit without reading its input: its exit status speaks
  child.stdin.end(options.input);
  return await new Promise((resolve, reject) => {
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const fail = () => reject(startError(tool, cause, options.signal));
      // A tool that is canceled has its SIGKILL: it is gone before its caller clears up behind it.
      child.pid === undefined ? fail() : child.once('exit', fail);
    });
    child.once('exit', () => {
      // What the tool left behind may hold its output open for ever.
      const late = setTimeout(() => [child.stdout, child.stderr].map((stream) => stream.destroy()), DRAIN_MS);
      child.once('close', () => clearTimeout(late));
    });
    child.once('close', (code, signal) => {
      const tooMuch = outputBytes > maxOutputBytes;
      if (code === 0 && !tooMuch) {
        resolve(Buffer.concat(stdout));
        return;
      }
      const how = signal ? `was ended by ${signal}` : `exited with ${code}`;
      const what = tooMuch
        ? `wrote more than ${maxOutputBytes} bytes`
        : `${how}: ${withoutCredentials(tail).trim() || '(it said nothing)'}`;
      reject(
        new SmartVMError('TOOL_FAILED', `${tool} ${what}`, {
          details: { tool, args: args.map(withoutCredentials), exitCode: code, signal },
        }),
      );
    });
  });
}

/** An ordinary user's PATH lacks the folders of the tools for file systems, modules and networks. */
function toolFolders({ PATH }: NodeJS.ProcessEnv): string[] {
  return [...new Set([...(PATH ?? '').split(':').filter(Boolean), '/usr/local/sbin', '/usr/sbin', '/sbin'])];
}

function startError(tool: string, cause: NodeJS.ErrnoException, signal: AbortSignal | undefined): SmartVMError {
  if (signal?.aborted) {
    return new SmartVMError('CANCELED', `${tool} was canceled`, { cause });
  }
  if (cause.code === 'ENOENT') {
    return toolMissing([tool], cause);
  }
  return new SmartVMError('TOOL_FAILED', `${tool} could not be started: ${cause.message}`, {
    cause,
    details: { tool },
  });
}

/**
 * Says before a long job what would be missing in its middle.
 * @throws SmartVMError TOOL_MISSING naming every tool that is not in PATH, and one command that installs them
 */
export async function requireTools(tools: readonly string[]): Promise<void> {
  const missing = await missingTools(tools);
  if (missing.length > 0) {
    throw toolMissing(missing);
  }
}

/** Those of the tools that {@link run} would not find. */
export async function missingTools(tools: readonly string[]): Promise<string[]> {
  const folders = toolFolders(process.env);
  const found = async (tool: string) => {
    const tries = await Promise.allSettled(folders.map((folder) => access(join(folder, tool), constants.X_OK)));
    return tries.some(({ status }) => status === 'fulfilled');
  };
  const present = await Promise.all(tools.map(found));
  return tools.filter((_tool, index) => !present[index]);
}

/** Debian's packages of these tools, as far as they are known. */
export function packagesOf(tools: readonly string[]): string[] {
  return [...new Set(tools.flatMap((tool) => PACKAGES[tool] ?? []))];
}

/** TOOL_MISSING, with the command that installs the tools where their packages are known. */
export function toolMissing(tools: readonly string[], cause?: unknown): SmartVMError {
  const packages = packagesOf(tools);
  const hint = packages.length > 0 ? `; install with: apt-get install ${packages.join(' ')}` : '';
  const verb = tools.length > 1 ? 'are' : 'is';
  return new SmartVMError('TOOL_MISSING', `${tools.join(', ')} ${verb} not installed${hint}`, {
    cause,
    details: { tool: tools[0], tools },
  });
}
