import { SmartVMError } from '../errors.js';
import { printableUrl } from '../util/redact.js';
import { quote } from './ids.js';

export const DEBIAN_SUITES = ['bullseye', 'bookworm', 'trixie', 'forky', 'sid'] as const;

export type DebianSuite = (typeof DEBIAN_SUITES)[number];

export const DEFAULT_DEBIAN_SUITE: DebianSuite = 'bookworm';

/** A Debian root file system: which release, from where, and what is in it beside the least that it needs. */
export interface DebianOptions {
  /** Code name of a release: `bullseye`, `bookworm` (default), `trixie`, `forky` or `sid`. */
  readonly suite?: string | undefined;
  /** Names of packages; their dependencies come along, what they recommend does not. */
  readonly packages?: readonly string[] | undefined;
  /** URL (http, https) of an archive such as `http://deb.debian.org/debian`. Default: the host's own, else deb.debian.org. */
  readonly mirror?: string | undefined;
}

/** As {@link DebianOptions}, checked, and the same for what means the same. */
export interface DebianImage {
  readonly suite: DebianSuite;
  /** Sorted, each once. */
  readonly packages: readonly string[];
  readonly mirror?: string | undefined;
}

/** Debian's policy for names of packages. */
const PACKAGE = /^[a-z0-9][a-z0-9+.-]{1,127}$/;
const MAX_PACKAGES = 500;
/** sources.list(5) takes a line apart at spaces and brackets. */
const MIRROR = /^https?:\/\/[^\s[\]#?]{1,1000}$/;
const KEYS = ['packages', 'mirror'];

/** @throws SmartVMError IMAGE_UNKNOWN for a suite that there is not; INVALID_OPTION */
export function debianImage({ suite = DEFAULT_DEBIAN_SUITE, packages = [], mirror }: DebianOptions): DebianImage {
  if (!DEBIAN_SUITES.includes(suite as DebianSuite)) {
    const known = DEBIAN_SUITES.join(', ');
    throw new SmartVMError('IMAGE_UNKNOWN', `there is no Debian image of ${quote(suite)}; there are: ${known}`);
  }
  const wrong = packages.find((name) => !PACKAGE.test(name));
  if (wrong !== undefined || packages.length > MAX_PACKAGES) {
    const what =
      wrong === undefined ? `${packages.length} are more than ${MAX_PACKAGES}` : `${quote(wrong)} is no name of one`;
    throw new SmartVMError('INVALID_OPTION', `packages of a Debian image: ${what}`);
  }
  if (mirror !== undefined && !(MIRROR.test(mirror) && URL.canParse(mirror))) {
    const example = 'http://deb.debian.org/debian';
    throw new SmartVMError(
      'INVALID_OPTION',
      `${quote(printableUrl(mirror))} is no mirror of Debian; one is ${example}`,
    );
  }
  const sorted = [...new Set(packages)].toSorted();
  const plain = { suite: suite as DebianSuite, packages: sorted };
  return mirror === undefined ? plain : { ...plain, mirror: mirror.replace(/\/+$/, '') };
}

/**
 * The name of such an image: `debian`, `debian:trixie`, `debian:trixie?packages=curl,git&mirror=http://deb.debian.org/debian`.
 * @throws SmartVMError IMAGE_UNKNOWN, INVALID_OPTION
 */
export function debianReference(options: DebianOptions): string {
  return nameOf(debianImage(options), (mirror) => mirror);
}

/** As {@link debianReference}, without what may be secret in the mirror's URL. */
export function printableDebianName(image: DebianImage): string {
  return nameOf(image, printableUrl);
}

/**
 * What stands behind `debian`, such as `:trixie?packages=git`.
 * @returns undefined for what is none of it
 * @throws SmartVMError IMAGE_UNKNOWN, INVALID_OPTION
 */
export function parseDebian(rest: string): DebianImage | undefined {
  const [, suite, query] = /^(?::([^?]+))?(?:\?(.*))?$/.exec(rest) ?? [];
  if (rest !== '' && suite === undefined && query === undefined) {
    return undefined;
  }
  // No form's '+' for a space: g++ is a package.
  const pairs = (query ?? '').split('&').filter(Boolean);
  const values = new Map(pairs.map((pair) => [pair.split('=', 1)[0] ?? '', pair.slice(pair.indexOf('=') + 1)]));
  const unknown = [...values.keys()].find((key) => !KEYS.includes(key));
  if (unknown !== undefined || pairs.some((pair) => !pair.includes('='))) {
    throw new SmartVMError(
      'INVALID_OPTION',
      `behind the '?' of a Debian image stand ${KEYS.join(' and ')}: ${quote(query)}`,
    );
  }
  return debianImage({
    ...(suite === undefined ? {} : { suite }),
    packages: values.get('packages')?.split(',').filter(Boolean),
    mirror: values.get('mirror'),
  });
}

function nameOf({ suite, packages, mirror }: DebianImage, shown: (mirror: string) => string): string {
  const query = [
    ...(packages.length > 0 ? [`packages=${packages.join(',')}`] : []),
    ...(mirror === undefined ? [] : [`mirror=${shown(mirror)}`]),
  ];
  const base = suite === DEFAULT_DEBIAN_SUITE ? 'debian' : `debian:${suite}`;
  return query.length > 0 ? `${base}?${query.join('&')}` : base;
}
