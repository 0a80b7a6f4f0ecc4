import { resolve } from 'node:path';
import { SmartVMError } from '../../errors.js';

/** An image of a registry, its name written out. */
export interface RegistryReference {
  readonly kind: 'registry';
  /** `host` or `host:port`. */
  readonly registry: string;
  readonly repository: string;
  /** `latest` where neither tag nor digest is given. With a digest it is what a person reads, and has no say. */
  readonly tag?: string | undefined;
  /** `sha256:…` of the manifest, or of the index of several. */
  readonly digest?: string | undefined;
}

/** An image in a file or folder of this host. */
export interface PathReference {
  readonly kind: 'path';
  /** Absolute. */
  readonly path: string;
  /** Which of several: a tag of an OCI layout or archive, a name with tag of docker's. */
  readonly selector?: string | undefined;
}

export type OciReference = RegistryReference | PathReference;

const DEFAULT_REGISTRY = 'docker.io';
const MAX_NAME = 255;
const LABEL = '[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*';
const HOST = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*|\\[[0-9a-fA-F:]+\\])(?::\\d{1,5})?$`);
const REPOSITORY_PART = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
export const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * What stands behind `oci:`, read as docker reads it: a first part that can be no host is of docker.io, and a name alone of its
 * `library`. What begins with `/`, `./` or `../` is a path.
 * @throws SmartVMError IMAGE_UNKNOWN
 */
export function parseOciReference(text: string, cwd = process.cwd()): OciReference {
  return /^(?:\.{0,2}\/|\.{1,2}$)/.test(text) ? parsePath(text, cwd) : parseRegistry(text);
}

/** The reference written out: the same image of the same place has the same. */
export function formatOciReference(reference: OciReference): string {
  if (reference.kind === 'path') {
    return reference.path + (reference.selector === undefined ? '' : `#${reference.selector}`);
  }
  const { registry, repository, tag, digest } = reference;
  return `${registry}/${repository}${digest === undefined ? `:${tag}` : `@${digest}`}`;
}

function parsePath(text: string, cwd: string): PathReference {
  const [path = '', ...rest] = text.split('#');
  const selector = rest.length > 0 ? rest.join('#') : undefined;
  if (path.includes('\0') || selector === '' || !/^[\w./:@+-]{0,512}$/.test(selector ?? '')) {
    throw invalid(text, 'a path may be followed by # and a name with a tag');
  }
  return { kind: 'path', path: resolve(cwd, path), selector };
}

function parseRegistry(text: string): RegistryReference {
  const [named = '', digest, ...more] = text.split('@');
  if (more.length > 0 || (digest !== undefined && !DIGEST.test(digest))) {
    throw invalid(text, 'a digest is sha256: and 64 hexadecimal digits in lower case');
  }
  const slash = named.indexOf('/');
  const first = named.slice(0, Math.max(slash, 0));
  const isHost = /[.:]/.test(first) || first === 'localhost' || first.toLowerCase() !== first;
  const rest = isHost ? named.slice(slash + 1) : named;
  const colon = rest.indexOf(':');
  const name = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);
  const registry = isHost && first !== 'index.docker.io' ? first : DEFAULT_REGISTRY;
  const repository = registry === DEFAULT_REGISTRY && !name.includes('/') ? `library/${name}` : name;
  if (named.length > MAX_NAME || !HOST.test(registry)) {
    throw invalid(text, `${JSON.stringify(registry.slice(0, 80))} is no host of a registry`);
  }
  if (!name.split('/').every((part) => REPOSITORY_PART.test(part))) {
    throw invalid(text, 'a name has lower-case letters, digits and . _ - between them, its parts divided by /');
  }
  if (tag !== undefined && !TAG.test(tag)) {
    throw invalid(text, 'a tag has at most 128 letters, digits, _ . and -, and begins with none of the last two');
  }
  return { kind: 'registry', registry, repository, tag: tag ?? (digest ? undefined : 'latest'), digest };
}

function invalid(text: string, why: string): SmartVMError {
  return new SmartVMError(
    'IMAGE_UNKNOWN',
    `oci:${text.slice(0, 200)} is no image: ${why}; such as oci:python:3.12, oci:ghcr.io/owner/name@sha256:… or oci:./image.tar`,
    { details: { name: `oci:${text}` } },
  );
}
