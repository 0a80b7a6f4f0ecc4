import type { ImageConfig } from '../../config/image-config.js';
import type { Arch } from '../../util/arch.js';
import { isSafeKey } from '../../util/safe-json.js';
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
const MAX_LABEL_NAME_LENGTH = 256;
const MAX_LABEL_LENGTH = 1024;
const MAX_PORTS = 256;
/**
 * Of all of it as it stands in the records of its image and of each VM: half of what such a record may have. One that was larger would
 * be read by nobody, and its VM be found by none.
 */
const MAX_RECORDED_BYTES = 512 << 10;

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
  const config = {
    env: environment(words('Env') ?? [], name),
    workingDir: text('WorkingDir'),
    user: text('User'),
    entrypoint: words('Entrypoint'),
    cmd: words('Cmd'),
    exposedPorts: ports.toSorted().slice(0, MAX_PORTS),
    stopSignal: text('StopSignal'),
    labels: labelsOf(source.Labels),
  };
  if (Buffer.byteLength(JSON.stringify({ config }, undefined, 2)) > MAX_RECORDED_BYTES) {
    throw refused(name, `its configuration has over ${MAX_RECORDED_BYTES} bytes of command, environment and labels`);
  }
  return config;
}

/** As docker has it, a name without a value is one that only the host could give: it is left out. */
function environment(list: readonly string[], name: string): Record<string, string> {
  const pairs = list.flatMap((variable): [string, string][] => {
    const at = variable.indexOf('=');
    return at > 0 ? [[variable.slice(0, at), variable.slice(at + 1)]] : [];
  });
  const unsafe = pairs.find(([variable]) => !isSafeKey(variable));
  if (unsafe) {
    throw refused(name, `its environment has a variable ${unsafe[0]}, which no record of a VM may have`);
  }
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
    ([name, label]) => name.length <= MAX_LABEL_NAME_LENGTH && isText(label) && label.length <= MAX_LABEL_LENGTH,
  );
  return Object.fromEntries(pairs.slice(0, MAX_LABELS).toSorted(([a], [b]) => (a < b ? -1 : 1))) as Record<
    string,
    string
  >;
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}
