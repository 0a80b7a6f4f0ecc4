import { resolve } from 'node:path';
import { type DebianImage, debianReference, parseDebian, printableDebianName } from '../config/debian.js';
import { SmartVMError } from '../errors.js';
import { printableUrl } from '../util/redact.js';
import { formatOciReference, type OciReference, parseOciReference } from './oci/reference.js';
import type { PackedFsType } from './root-file-system.js';

/** What an image's name means. `name` is how it is shown, and has no secret in it. */
export type ImageReference = { readonly name: string } & (
  | { readonly kind: 'debian'; readonly debian: DebianImage }
  | { readonly kind: 'oci'; readonly target: OciReference; readonly fsType: PackedFsType }
  | { readonly kind: 'manifest' /** Absolute. */; readonly path: string }
  | { readonly kind: 'directory' /** Absolute. */; readonly path: string; readonly fsType: PackedFsType }
  | { readonly kind: 'hosted'; readonly url: string }
  | { readonly kind: 'preset'; readonly preset: 'latest' | 'lts' }
);

export type ReferenceKind = ImageReference['kind'];

/** The forms that an image's name can have, for messages and help. */
export const REFERENCE_FORMS = [
  'debian',
  'debian:SUITE',
  'debian:SUITE?packages=NAME,NAME&mirror=URL',
  'oci:REFERENCE',
  'latest',
  'lts',
  'hosted:URL',
  './manifest.json',
  './directory',
] as const;

const MAX_LENGTH = 4096;

/**
 * Reads an image's name. Nothing is looked up. A relative path starts in the working directory.
 * @throws SmartVMError IMAGE_UNKNOWN, INVALID_OPTION
 */
export function parseReference(text: string): ImageReference {
  const [prefix, rest] = split(text);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (text.length > MAX_LENGTH || /[\x00-\x1f\x7f]/.test(text)) {
    throw unknownImage(text.slice(0, 100));
  }
  if (text === 'latest' || text === 'lts') {
    return { kind: 'preset', name: text, preset: text };
  }
  const debian = /^debian(?=[:?]|$)/.test(text) ? parseDebian(text.slice('debian'.length)) : undefined;
  if (debian) {
    return { kind: 'debian', name: printableDebianName(debian), debian };
  }
  if (prefix === 'oci' && rest) {
    const { name, fsType, suffix } = splitFsType(rest);
    const target = parseOciReference(name);
    return { kind: 'oci', name: `oci:${formatOciReference(target)}${suffix}`, target, fsType };
  }
  if (prefix === 'hosted' && rest && URL.canParse(rest)) {
    return { kind: 'hosted', name: `hosted:${printableUrl(rest)}`, url: rest };
  }
  if (/^(\/|\.\.?(\/|$))/.test(text)) {
    const { name, fsType, suffix } = splitFsType(text);
    const path = resolve(name);
    return path.endsWith('.json')
      ? { kind: 'manifest', name: path, path }
      : { kind: 'directory', name: path + suffix, path, fsType };
  }
  throw unknownImage(text);
}

/** What tells two references apart that are shown alike. */
export function identityOf(reference: ImageReference): string {
  if (reference.kind === 'debian') {
    return debianReference(reference.debian);
  }
  return reference.kind === 'hosted' ? `hosted:${reference.url}` : reference.name;
}

export function unknownImage(name: string, why = `there is no image '${name}'`): SmartVMError {
  return new SmartVMError('IMAGE_UNKNOWN', `${why}; an image is one of: ${REFERENCE_FORMS.join(', ')}`, {
    details: { name },
  });
}

/** `?fs=ext4` behind a name asks for another root file system than squashfs. */
function splitFsType(text: string): { name: string; fsType: PackedFsType; suffix: string } {
  const [, name = text, fsType] = /^(.*)\?fs=(ext4|squashfs)$/.exec(text) ?? [];
  return { name, fsType: fsType === 'ext4' ? 'ext4' : 'squashfs', suffix: fsType === 'ext4' ? '?fs=ext4' : '' };
}

function split(text: string): [string, string | undefined] {
  const colon = text.indexOf(':');
  return colon < 0 ? [text, undefined] : [text.slice(0, colon), text.slice(colon + 1)];
}
