import { rm } from 'node:fs/promises';
import { isSmartVMError, SmartVMError } from '../errors.js';
import { type RunOptions, run } from '../util/run.js';

/**
 * Runs a build tool that wants to be root (mmdebstrap, mksquashfs of its result) in namespaces of its own: what it mounts is seen by nobody else, and
 * all its processes and mounts end with it and with this program, however that dies. Not root, it is root in a user namespace with the ids of /etc/subuid.
 * What unpacks or packs what others have made reaches no network, nor the host's own listeners: only with `network` is there one.
 */
export async function runInBuildSandbox(
  tool: string,
  args: readonly string[],
  { network = false, ...options }: RunOptions & { readonly network?: boolean | undefined },
): Promise<Buffer> {
  const offline = network ? [] : ['--net', '--ipc', '--uts'];
  const namespaces = [
    '--mount',
    '--pid',
    ...offline,
    ...userNamespace(),
    '--fork',
    '--kill-child=KILL',
    '--mount-proc',
  ];
  const command = ['--pdeathsig', 'KILL', 'unshare', ...namespaces, '--', tool, ...args];
  return await run('setpriv', command, options).catch((error: unknown) => {
    if (isSmartVMError(error, 'TOOL_FAILED')) {
      const message = error.message.replace(/^setpriv/, tool);
      throw new SmartVMError('TOOL_FAILED', message, { cause: error, details: { ...error.details, tool } });
    }
    throw error;
  });
}

/** What {@link runInBuildSandbox} runs beside the tool. */
export function buildSandboxTools(): string[] {
  return ['setpriv', 'unshare', ...(userNamespace().length > 0 ? ['newuidmap'] : [])];
}

/** Removes a build's folder, with the files in it that belong to subordinate ids. */
export async function removeBuild(path: string): Promise<void> {
  if (userNamespace().length > 0) {
    // Fails where nothing could be built either; what then is ours alone is removed below.
    await run('unshare', [...userNamespace(), '--', 'rm', '--recursive', '--force', '--', path]).catch(() => undefined);
  }
  // A killed build may take a moment to be gone.
  await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}

function userNamespace(): string[] {
  return process.getuid?.() === 0 ? [] : ['--user', '--map-root-user', '--map-auto'];
}
