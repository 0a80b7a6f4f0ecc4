import type { ImageConfig } from '../../config/image-config.js';
import type { Arch } from '../../util/arch.js';
import { jsonObject, OCI_ARCH, refused } from './manifest.js';
import { DIGEST } from './reference.js';

/** An image's configuration, checked. */
export interface OciConfig {
  readonly config: ImageConfig;
  /** `sha256:…` of each layer's tar, unpacked, from the lowest on. */
  readonly diffIds: readonly string[];
  /** In seconds since 1970. */
  readonly created: number;
}

/** What the guest takes of it has to fit into its own configuration. */
const MAX_ENV_BYTES = 128 << 10;
const MAX_WORDS_BYTES = 128 << 10;
const MAX_LABELS = 128;
const MAX_LABEL_LENGTH = 1024;

/** @throws SmartVMError IMAGE_REFUSED */
export function parseConfig(raw: Uint8Array, arch: Arch, name: string): OciConfig {
  const value = jsonObject(raw, `the configuration of ${name}`);
  const { architecture, os, rootfs, created } = value;
  if (isText(os) && os !== '' && os !== 'linux') {
    throw refused(name, `it is for ${os}, not for linux`);
  }
  if (isText(architecture) && architecture !== '' && architecture !== OCI_ARCH[arch]) {
    throw refused(name, `it is for linux/${architecture}, and guests here are linux/${OCI_ARCH[arch]}`);
  }
  const { diff_ids: diffIds } = (rootfs ?? {}) as { diff_ids?: unknown };
  if (!Array.isArray(diffIds) || !diffIds.every((id) => isText(id) && DIGEST.test(id))) {
    throw refused(name, 'its configuration does not name its layers');
  }
  const seconds = isText(created) ? Math.floor(Date.parse(created) / 1000) : Number.NaN;
  return {
    config: imageConfig(value.config, name),
    diffIds,
    created: Math.min(Math.max(seconds || 0, 0), 2 ** 32 - 1),
  };
}

function imageConfig(value: unknown, name: string): ImageConfig {
  const source = (value ?? {}) as Record<string, unknown>;
  const text = (key: string) => textOf(source[key], key, name);
  const words = (key: string) => wordsOf(source[key], key, name);
  const ports = Object.keys((source.ExposedPorts ?? {}) as object).filter((port) => /^\d{1,5}(\/\w{1,8})?$/.test(port));
  return {
    env: environment(words('Env') ?? [], name),
    workingDir: text('WorkingDir'),
    user: text('User'),
    entrypoint: words('Entrypoint'),
    cmd: words('Cmd'),
    exposedPorts: ports.toSorted(),
    stopSignal: text('StopSignal'),
    labels: labelsOf(source.Labels),
  };
}

/** As docker has it, a name without a value is one that only the host could give: it is left out. */
function environment(list: readonly string[], name: string): Record<string, string> {
  const pairs = list.flatMap((variable): [string, string][] => {
    const at = variable.indexOf('=');
    return at > 0 ? [[variable.slice(0, at), variable.slice(at + 1)]] : [];
  });
  if (Buffer.byteLength(JSON.stringify(pairs)) > MAX_ENV_BYTES) {
    throw refused(name, `its environment has over ${MAX_ENV_BYTES} bytes`);
  }
  return Object.fromEntries(pairs);
}

function textOf(value: unknown, key: string, name: string): string | undefined {
  if (value === undefined || value === null || value === '') {
    return undefined;
  }
  if (!isText(value) || value.length > 4096 || value.includes('\0')) {
    throw refused(name, `${key} in its configuration is no text`);
  }
  return value;
}

function wordsOf(value: unknown, key: string, name: string): readonly string[] | undefined {
  if (value === undefined || value === null) {
    return undefined;
  }
  const whole = Array.isArray(value) && value.every((word) => isText(word) && !word.includes('\0'));
  if (!whole || Buffer.byteLength(JSON.stringify(value)) > MAX_WORDS_BYTES) {
    throw refused(name, `${key} in its configuration is no list of words, or too long a one`);
  }
  return value.length > 0 ? value : undefined;
}

/** For people and filters alone: what is no text is left out. */
function labelsOf(value: unknown): Record<string, string> {
  const pairs = Object.entries((value ?? {}) as object).filter(
    ([, label]) => isText(label) && label.length <= MAX_LABEL_LENGTH,
  );
  return Object.fromEntries(pairs.slice(0, MAX_LABELS).toSorted(([a], [b]) => (a < b ? -1 : 1))) as Record<
    string,
    string
  >;
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}
