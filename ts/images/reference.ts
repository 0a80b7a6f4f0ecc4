import { resolve } from 'node:path';
import { SmartVMError } from '../errors.js';
import { printableUrl } from '../util/redact.js';

/** What an image's name means. `name` is how it is shown, and has no secret in it. */
export type ImageReference = { readonly name: string } & (
  | { readonly kind: 'debian' /** Debian's code name; undefined: the default one. */; readonly suite?: string }
  | { readonly kind: 'oci' /** What stands behind `oci:`. */; readonly target: string }
  | { readonly kind: 'manifest' /** Absolute. */; readonly path: string }
  | { readonly kind: 'directory' /** Absolute. */; readonly path: string }
  | { readonly kind: 'hosted'; readonly url: string }
  | { readonly kind: 'preset'; readonly preset: 'latest' | 'lts' }
);

export type ReferenceKind = ImageReference['kind'];

/** The forms that an image's name can have, for messages and help. */
export const REFERENCE_FORMS = [
  'debian',
  'debian:SUITE',
  'oci:REFERENCE',
  'latest',
  'lts',
  'hosted:URL',
  './manifest.json',
  './directory',
] as const;

const SUITE = /^[a-z][a-z0-9-]{0,31}$/;
const MAX_LENGTH = 4096;

/**
 * Reads an image's name. Nothing is looked up. A relative path starts in the working directory.
 * @throws SmartVMError IMAGE_UNKNOWN
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
  if (prefix === 'debian' && (rest === undefined || SUITE.test(rest))) {
    return { kind: 'debian', name: text, ...(rest === undefined ? {} : { suite: rest }) };
  }
  if (prefix === 'oci' && rest) {
    return { kind: 'oci', name: text, target: rest };
  }
  if (prefix === 'hosted' && rest && URL.canParse(rest)) {
    return { kind: 'hosted', name: `hosted:${printableUrl(rest)}`, url: rest };
  }
  if (/^(\/|\.\.?(\/|$))/.test(text)) {
    const path = resolve(text);
    return { kind: path.endsWith('.json') ? 'manifest' : 'directory', name: path, path };
  }
  throw unknownImage(text);
}

/** What tells two references apart that are shown alike. */
export function identityOf(reference: ImageReference): string {
  return reference.kind === 'hosted' ? `hosted:${reference.url}` : reference.name;
}

export function unknownImage(name: string, why = `there is no image '${name}'`): SmartVMError {
  return new SmartVMError('IMAGE_UNKNOWN', `${why}; an image is one of: ${REFERENCE_FORMS.join(', ')}`, {
    details: { name },
  });
}

function split(text: string): [string, string | undefined] {
  const colon = text.indexOf(':');
  return colon < 0 ? [text, undefined] : [text.slice(0, colon), text.slice(colon + 1)];
}
