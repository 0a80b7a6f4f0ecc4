import { dirname, isAbsolute, resolve } from 'node:path';
import { isSmartVMError, SmartVMError } from '../errors.js';
import { readBoundedTextSync } from '../util/bounded-file.js';
import { fetchDocument, type GetOptions } from '../util/download.js';
import type { Reach } from '../util/http/reach.js';
import { printableUrl } from '../util/redact.js';
import { type Fingerprint, fingerprintSync } from '../util/verified-file.js';
import type { IBaseImageHostedArtifact, IBaseImageHostedManifest } from './base-image-types.js';
import type { Arch } from './image-types.js';

export const DEFAULT_BOOT_ARGS = 'console=ttyS0 reboot=k panic=1 pci=off';
export const MAX_KERNEL_BYTES = 1024 ** 3;
export const MAX_ROOTFS_BYTES = 64 * 1024 ** 3;

const MAX_MANIFEST_BYTES = 1024 * 1024;
const SAFE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const MAX_BOOT_ARGS = 2048;

const MANIFEST_FIELDS = [
  'schemaVersion',
  'bundleId',
  'name',
  'arch',
  'firecrackerVersion',
  'rootfsType',
  'rootfsIsReadOnly',
  'bootArgs',
  'kernel',
  'rootfs',
];
const ARTIFACT_FIELDS = ['path', 'url', 'fileName', 'sha256', 'sizeBytes'];

/** A manifest whose rules all hold: artifact paths are absolute, names are there. */
export interface CheckedManifest extends IBaseImageHostedManifest {
  readonly kernel: CheckedArtifact;
  readonly rootfs: CheckedArtifact;
}

export type CheckedArtifact = IBaseImageHostedArtifact & {
  readonly fileName: string;
  /** As a bucket's listing has it. */
  readonly etag?: string;
};

/** A manifest, and where what it names may be. */
export interface LocatedManifest {
  readonly manifest: CheckedManifest;
  /** The reach of the host that it came from: nothing that it names may be narrower. undefined: this host's own. */
  readonly reach?: Reach;
}

/**
 * Reads and checks a hosted manifest of this host.
 * @throws SmartVMError BASE_IMAGE_MANIFEST_FAILED when it cannot be read, INVALID_BASE_IMAGE_MANIFEST when it breaks a rule
 */
export function readHostedManifest(manifestPath: string, arch: Arch): CheckedManifest {
  const text = read(manifestPath);
  return checkHostedManifest(parse(text, manifestPath), dirname(resolve(manifestPath)), arch);
}

/**
 * Fetches and checks a manifest. What it names by a relative path stands beside it, and needs a sha256; files of this host it cannot name.
 * @throws SmartVMError BASE_IMAGE_MANIFEST_FAILED (`details.reason` has the code of the failed transfer), INVALID_BASE_IMAGE_MANIFEST,
 *   CANCELED
 */
export async function fetchHostedManifest(url: string, arch: Arch, options: GetOptions): Promise<LocatedManifest> {
  const { text, reach } = await fetchDocument(url, MAX_MANIFEST_BYTES, options).catch((cause: unknown) => {
    if (isSmartVMError(cause, 'DOWNLOAD_FAILED', 'DOWNLOAD_CORRUPT', 'DOWNLOAD_REFUSED')) {
      const details = { ...cause.details, reason: cause.code };
      throw new SmartVMError('BASE_IMAGE_MANIFEST_FAILED', `cannot read the manifest: ${cause.message}`, {
        cause,
        details,
      });
    }
    throw cause;
  });
  const manifest = checkHostedManifest(parse(text, printableUrl(url)), '', arch);
  const [kernel, rootfs] = [besideManifest(manifest.kernel, url), besideManifest(manifest.rootfs, url)];
  return { manifest: { ...manifest, kernel, rootfs }, reach };
}

function read(path: string): string {
  try {
    return readBoundedTextSync(path, MAX_MANIFEST_BYTES);
  } catch (cause) {
    const { message } = cause as Error;
    throw new SmartVMError('BASE_IMAGE_MANIFEST_FAILED', `cannot read the manifest: ${message}`, { cause });
  }
}

function besideManifest({ path, ...artifact }: CheckedArtifact, manifestUrl: string): CheckedArtifact {
  if (path === undefined) {
    return artifact;
  }
  const { fileName, sha256 } = artifact;
  require(!isAbsolute(path), `${fileName}: a manifest of another host cannot name a file of this one`);
  require(sha256 !== undefined, `${fileName}: what stands beside a manifest of another host needs its sha256`);
  const beside = new URL(manifestUrl);
  beside.pathname = beside.pathname.replace(/[^/]*$/, path.split('/').map(encodeURIComponent).join('/'));
  return { ...artifact, url: beside.href };
}

function parse(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalid(`${name} is not JSON: ${(cause as Error).message}`);
  }
}

/**
 * Checks every rule of a hosted manifest. Fields that it does not know are refused: a mistyped `sha256` must not go unnoticed.
 * @param folder where relative artifact paths start; '' leaves them as they are
 * @throws SmartVMError INVALID_BASE_IMAGE_MANIFEST
 */
export function checkHostedManifest(value: unknown, folder: string, arch: Arch): CheckedManifest {
  const manifest = fieldsOf(value, 'the manifest', MANIFEST_FIELDS);
  require(manifest.schemaVersion === 1, 'schemaVersion must be 1');
  require(isSafeName(
    manifest.bundleId,
  ), 'bundleId must be 1 to 128 letters, digits, ".", "_" or "-", a letter or digit first');
  require(manifest.arch === 'x86_64' || manifest.arch === 'aarch64', 'arch must be x86_64 or aarch64');
  require(manifest.arch === arch, `arch is ${manifest.arch}, and ${arch} is wanted`);
  require(isText(manifest.firecrackerVersion, 64), 'firecrackerVersion must be a string like v1.15.1');
  require(manifest.rootfsType === 'ext4' || manifest.rootfsType === 'squashfs', 'rootfsType must be ext4 or squashfs');
  require(isOptional(manifest.name, (name) => isText(name, 256)), 'name must be a string of at most 256 characters');
  require(isOptional(
    manifest.rootfsIsReadOnly,
    (flag) => typeof flag === 'boolean',
  ), 'rootfsIsReadOnly must be true or false');
  require(isOptional(manifest.bootArgs, (args) =>
    isText(args, MAX_BOOT_ARGS),
  ), `bootArgs must be one line of at most ${MAX_BOOT_ARGS} characters`);
  const kernel = checkArtifact(manifest.kernel, 'kernel', 'vmlinux', folder);
  const rootfs = checkArtifact(manifest.rootfs, 'rootfs', `rootfs.${manifest.rootfsType}`, folder);
  require(kernel.fileName !== rootfs.fileName, 'kernel.fileName and rootfs.fileName must differ');
  return { ...(manifest as unknown as IBaseImageHostedManifest), kernel, rootfs };
}

function checkArtifact(value: unknown, name: string, defaultName: string, folder: string): CheckedArtifact {
  const artifact = fieldsOf(value, name, ARTIFACT_FIELDS);
  const { path, url, sha256, sizeBytes, fileName = defaultName } = artifact;
  require((path === undefined) !== (url === undefined), `${name} must have either path or url`);
  require(isSafeName(fileName) && fileName !== 'manifest.json', `${name}.fileName must be a plain file name`);
  require(isOptional(
    sha256,
    (hex) => typeof hex === 'string' && /^[0-9a-f]{64}$/i.test(hex),
  ), `${name}.sha256 must be 64 hexadecimal digits`);
  require(isOptional(
    sizeBytes,
    (size) => Number.isSafeInteger(size) && (size as number) > 0,
  ), `${name}.sizeBytes must be a positive integer`);
  const common = {
    fileName,
    ...(sha256 ? { sha256: (sha256 as string).toLowerCase() } : {}),
    ...(sizeBytes ? { sizeBytes: sizeBytes as number } : {}),
  };
  if (url !== undefined) {
    require(typeof url === 'string' &&
      /^https?:\/\//.test(url) &&
      URL.canParse(url), `${name}.url must be an http or https URL`);
    require(sha256 !== undefined, `${name}.url needs ${name}.sha256`);
    return { ...common, url };
  }
  require(isText(path, 4096), `${name}.path must be a path without control characters`);
  require(!path.split('/').includes('..'), `${name}.path must not have ".." in it`);
  return { ...common, path: isAbsolute(path) || folder === '' ? path : resolve(folder, path) };
}

/** The object's own fields, without a prototype, so that nothing but the JSON text decides what they are. */
function fieldsOf(value: unknown, name: string, known: readonly string[]): Record<string, unknown> {
  require(typeof value === 'object' && value !== null && !Array.isArray(value), `${name} must be an object`);
  const unknown = Object.keys(value).filter((key) => !known.includes(key));
  require(unknown.length === 0, `${name} has a field it may not have: ${JSON.stringify(unknown[0])?.slice(0, 100)}`);
  return Object.assign(Object.create(null), value) as Record<string, unknown>;
}

function isSafeName(value: unknown): value is string {
  return typeof value === 'string' && SAFE_NAME.test(value);
}

function isText(value: unknown, maxLength: number): value is string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return typeof value === 'string' && value.length > 0 && value.length <= maxLength && !/[\x00-\x1f\x7f]/.test(value);
}

function isOptional(value: unknown, check: (value: unknown) => boolean): boolean {
  return value === undefined || check(value);
}

function require(holds: boolean, rule: string): asserts holds {
  if (!holds) {
    throw invalid(rule);
  }
}

function invalid(rule: string): SmartVMError {
  return new SmartVMError('INVALID_BASE_IMAGE_MANIFEST', `invalid base image manifest: ${rule}`);
}

/** An artifact without a checksum is known by its file: when that is another one, the cached copy is out of date. */
export function unverifiedSources(manifest: CheckedManifest): Readonly<Record<string, Fingerprint>> {
  const paths = [manifest.kernel, manifest.rootfs].flatMap(({ path, sha256 }) => (path && !sha256 ? [path] : []));
  const entries = paths.map((path) => [path, fingerprintSync(path)] as const);
  return Object.fromEntries(entries.flatMap(([path, print]) => (print ? [[path, print] as const] : [])));
}
