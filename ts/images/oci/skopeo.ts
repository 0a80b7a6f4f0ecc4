import { access } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isSmartVMError, SmartVMError } from '../../errors.js';
import { type RunOptions, run } from '../../util/run.js';
import { formatOciReference, type RegistryReference } from './reference.js';

const MAX_MANIFEST_BYTES = 4 << 20;
const INSPECT_TIMEOUT = '2m';
const COPY_TIMEOUT = '1h';
const RETRIES = '2';
/** As docker has it, a registry of this host itself may speak http. */
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/;

/** The manifest, or the index, as the registry has it. @throws SmartVMError IMAGE_PULL_FAILED, TOOL_MISSING, CANCELED */
export async function inspectRaw(reference: RegistryReference, signal?: AbortSignal): Promise<Buffer> {
  const tls = LOOPBACK.test(reference.registry) ? ['--tls-verify=false'] : [];
  const common = ['--command-timeout', INSPECT_TIMEOUT, 'inspect', '--raw', '--retry-times', RETRIES, ...tls];
  const args = [...common, ...(await credentials('--authfile')), transportOf(reference)];
  return await skopeo(args, formatOciReference(reference), {
    signal,
    maxOutputBytes: MAX_MANIFEST_BYTES,
  });
}

/**
 * Copies an image into an OCI layout of its own whose blobs are shared: those that are there already are not fetched.
 * @param source with its transport
 * @param name for errors
 */
export async function copyImage(
  source: string,
  target: { readonly layout: string; readonly blobs: string; readonly maxBlobBytes: number; readonly goArch: string },
  name: string,
  options: Pick<RunOptions, 'cwd' | 'signal'> & { readonly registry?: string | undefined },
): Promise<void> {
  const tls = LOOPBACK.test(options.registry ?? '') ? ['--src-tls-verify=false'] : [];
  const platform = ['--override-os', 'linux', '--override-arch', target.goArch, '--command-timeout', COPY_TIMEOUT];
  const where = ['--dest-shared-blob-dir', target.blobs, ...tls, ...(await credentials('--src-authfile'))];
  const args = [...(await policy()), ...platform, 'copy', '--retry-times', RETRIES, ...where];
  const { cwd = '/', signal } = options;
  // What a registry sends has no end of its own.
  const limit = ['prlimit', `--fsize=${target.maxBlobBytes}`, '--'];
  await skopeo([...args, source, `oci:${target.layout}:image`], name, { cwd, signal }, limit);
}

/** The transport and name by which skopeo knows an image of a registry. */
export function transportOf(reference: RegistryReference): string {
  return `docker://${formatOciReference(reference)}`;
}

/** Ends with this program, however that dies: a registry may make it wait for an hour. */
async function skopeo(args: string[], name: string, options: RunOptions, wrapper: string[] = []): Promise<Buffer> {
  const command = ['--pdeathsig', 'KILL', ...wrapper, 'skopeo', ...args];
  return await run('setpriv', command, options).catch((error: unknown) => {
    if (!isSmartVMError(error, 'TOOL_FAILED')) {
      throw error;
    }
    const said = lastWords(error.message);
    const { reason, hint } = explain(said);
    throw new SmartVMError('IMAGE_PULL_FAILED', `${name} could not be pulled: ${hint}${said}`, {
      cause: error,
      details: { image: name, reason },
    });
  });
}

/** The message of skopeo's last line, which logrus wraps. */
function lastWords(message: string): string {
  const [, said] = /msg="((?:[^"\\]|\\.)*)"[^"]*$/.exec(message) ?? [];
  return said === undefined ? message : said.replace(/\\(.)/g, '$1');
}

const REASONS: readonly [reason: string, pattern: RegExp, hint: string][] = [
  [
    'unauthorized',
    /unauthorized|authentication required|denied|invalid username\/password|no basic auth/i,
    'the registry wants other credentials, or has no such image; log in with `docker login` or `skopeo login`: ',
  ],
  [
    'not-found',
    /manifest unknown|name unknown|not found|no such file|NAME_UNKNOWN|does not exist/i,
    'there is no such image: ',
  ],
  ['too-large', /file too large|SIGXFSZ/, 'a layer is over the limit: '],
  ['no-space', /no space left on device/, 'the disk is full: '],
  [
    'network',
    /connection refused|no such host|i\/o timeout|deadline exceeded|x509|tls:|EOF|reset by peer|unreachable|HTTP response to HTTPS/i,
    'the registry cannot be reached: ',
  ],
];

function explain(said: string): { reason: string; hint: string } {
  const [reason, , hint] = REASONS.find(([, pattern]) => pattern.test(said)) ?? ['other', /./, ''];
  return { reason, hint };
}

/** skopeo reads REGISTRY_AUTH_FILE, podman's file and docker's, with their helpers; of docker's own variable older releases do not know. */
async function credentials(flag: string): Promise<string[]> {
  const { DOCKER_CONFIG, REGISTRY_AUTH_FILE } = process.env;
  const file = DOCKER_CONFIG && !REGISTRY_AUTH_FILE ? join(DOCKER_CONFIG, 'config.json') : undefined;
  return file !== undefined && (await exists(file)) ? [flag, file] : [];
}

/** Which signatures this host asks for is its own to say; skopeo refuses to work where it says nothing at all. */
async function policy(): Promise<string[]> {
  const files = [join(homedir(), '.config/containers/policy.json'), '/etc/containers/policy.json'];
  const there = await Promise.all(files.map(exists));
  return there.includes(true) ? [] : ['--insecure-policy'];
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
