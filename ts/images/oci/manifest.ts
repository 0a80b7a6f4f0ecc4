import { SmartVMError } from '../../errors.js';
import type { Arch } from '../../util/arch.js';
import { parseSafeJson } from '../../util/safe-json.js';
import { DIGEST } from './reference.js';

/** Content, as a manifest names it. */
export interface Descriptor {
  /** `sha256:…` */
  readonly digest: string;
  readonly size: number;
}

/** One image: its configuration, whose digest is the image's id, and its layers from the lowest on. */
export interface OciManifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant: string;
}

/** Several images under one name, one for each platform. */
interface OciIndex {
  readonly manifests: readonly (Descriptor & { readonly platform: Platform })[];
}

const MAX_LAYERS = 512;
const MAX_INDEX = 512;
/** Go's names, which images go by. */
export const OCI_ARCH = { x86_64: 'amd64', aarch64: 'arm64' } as const;

/**
 * A manifest, or an index of several, in OCI's form or docker's (schema 2).
 * @throws SmartVMError IMAGE_REFUSED
 */
export function parseManifest(raw: Uint8Array, name: string): OciManifest | OciIndex {
  const value = jsonObject(raw, `the manifest of ${name}`);
  if (Array.isArray(value.manifests)) {
    const manifests = value.manifests.slice(0, MAX_INDEX).map((entry) => ({
      ...descriptor(entry, name),
      platform: platformOf((entry as { platform?: unknown }).platform),
    }));
    return { manifests };
  }
  if (Array.isArray(value.layers)) {
    if (value.layers.length > MAX_LAYERS) {
      throw refused(name, `it has ${value.layers.length} layers, over the limit of ${MAX_LAYERS}`);
    }
    return { config: descriptor(value.config, name), layers: value.layers.map((layer) => descriptor(layer, name)) };
  }
  const why =
    value.schemaVersion === 1
      ? 'its manifest is of schema 1, which docker gave up in 2019; push it anew'
      : 'what the registry gave is no manifest';
  throw refused(name, why);
}

export function isIndex(manifest: OciManifest | OciIndex): manifest is OciIndex {
  return 'manifests' in manifest;
}

/** The image of an index that is for Linux on this architecture. @throws SmartVMError IMAGE_REFUSED, naming those there are */
export function chooseForPlatform(index: OciIndex, arch: Arch, name: string): Descriptor {
  const wanted = OCI_ARCH[arch];
  const fits = index.manifests.filter(({ platform }) => platform.os === 'linux' && platform.architecture === wanted);
  // arm64 has `v8` as its variant, or none; of others this host may lack what they need.
  const chosen = fits.find(({ platform }) => ['', 'v8'].includes(platform.variant)) ?? fits[0];
  if (!chosen) {
    const has = index.manifests.map(({ platform }) => `${platform.os}/${platform.architecture}`);
    const known = [...new Set(has)].filter((text) => text !== 'unknown/unknown').join(', ');
    throw refused(name, `it has no image for linux/${wanted}, but for ${known || 'none'}`);
  }
  return chosen;
}

/** The text of a JSON document as an object. @throws SmartVMError IMAGE_REFUSED */
export function jsonObject(raw: Uint8Array, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = parseSafeJson(Buffer.from(raw).toString('utf8'));
  } catch (cause) {
    throw new SmartVMError('IMAGE_REFUSED', `${what} is not JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SmartVMError('IMAGE_REFUSED', `${what} is not a JSON object`);
  }
  return value as Record<string, unknown>;
}

/** An image that is not as it must be. */
export function refused(name: string, why: string, details: Record<string, unknown> = {}): SmartVMError {
  return new SmartVMError('IMAGE_REFUSED', `${name} is refused: ${why}`, { details: { image: name, ...details } });
}

function descriptor(value: unknown, name: string): Descriptor {
  const { digest, size } = (value ?? {}) as { digest?: unknown; size?: unknown };
  if (typeof digest !== 'string' || !DIGEST.test(digest) || !Number.isSafeInteger(size) || (size as number) < 0) {
    throw refused(name, 'its manifest names content without a sha256 digest and a size');
  }
  return { digest, size: size as number };
}

function platformOf(value: unknown): Platform {
  const { os, architecture, variant } = (value ?? {}) as Record<string, unknown>;
  const text = (part: unknown) => (typeof part === 'string' ? part.slice(0, 32) : '');
  return { os: text(os), architecture: text(architecture), variant: text(variant) };
}
