import { access, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type DebianImage, type DebianSuite, debianImage } from '../config/debian.js';
import { SmartVMError } from '../errors.js';
import { printableUrl } from '../util/redact.js';
import { run } from '../util/run.js';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const ARCHIVE = 'http://deb.debian.org/debian';

/** The host's own settings for reaching a mirror: a build uses them too, and leaves none of them in the image. */
const HOST_APT_SETTINGS = /^Acquire::(https?::Proxy|Retries|Check-Valid-Until|Check-Date)\b.* ".+";$/;

interface Source {
  readonly uri: string;
  readonly suite: string;
}

/**
 * Lines of a sources.list for a suite of Debian: from the mirror that is named, by the image or by SMARTVM_DEBIAN_MIRROR; else those
 * that a host of that suite itself uses; else deb.debian.org. Only Debian's own archive is taken, signed by Debian's own keyring; a
 * vendor's repository for the same suite is not.
 * @param etc the host's /etc/apt
 * @throws SmartVMError TOOL_MISSING when Debian's keyring is not installed; INVALID_OPTION for SMARTVM_DEBIAN_MIRROR
 */
export async function debianSources(
  { suite, mirror }: Omit<DebianImage, 'packages'>,
  etc = '/etc/apt',
): Promise<string> {
  await access(KEYRING).catch((cause: unknown) => {
    const hint = 'install it with: apt-get install debian-archive-keyring';
    throw new SmartVMError('TOOL_MISSING', `Debian's archive keys are not installed (${KEYRING}); ${hint}`, { cause });
  });
  const named = mirror ?? mirrorOfHost();
  const found = named === undefined ? await hostSources(etc, suitesOf(suite)) : [];
  const sources = found.some((source) => source.suite === suite) ? found : archiveOf(suite, named ?? ARCHIVE);
  return `${[...new Set(sources.map(lineOf))].join('\n')}\n`;
}

const lineOf = ({ uri, suite }: Source) => `deb [signed-by=${KEYRING}] ${uri} ${suite} main`;

/** The archives of a sources.list as {@link debianSources} gives it, without what may be secret in their URLs. */
export function archivesOf(sources: string): string[] {
  const lines = sources.trim().split('\n');
  return lines.map((line) => line.split(' ')).map(([, , uri = '', suite]) => `${printableUrl(uri)} ${suite}`);
}

function mirrorOfHost(): string | undefined {
  const { SMARTVM_DEBIAN_MIRROR: mirror } = process.env;
  return mirror ? debianImage({ mirror }).mirror : undefined;
}

/** sid has no updates but itself. */
function suitesOf(suite: DebianSuite): string[] {
  return suite === 'sid' ? [suite] : [suite, `${suite}-updates`, `${suite}-security`];
}

/** An archive at `…/debian…` has that of security updates at `…/debian-security…`; of another, deb.debian.org has it. */
function archiveOf(suite: DebianSuite, mirror: string): Source[] {
  const beside = mirror.replace(/\/debian(?=\/|$)/, '/debian-security');
  const security = beside === mirror ? `${ARCHIVE}-security` : beside;
  return suitesOf(suite).map((name) => ({ uri: name.endsWith('-security') ? security : mirror, suite: name }));
}

/** The host's proxy and retry settings, as apt.conf(5). Empty where there is no apt-config. */
export async function hostAptSettings(): Promise<string> {
  const dump = await run('apt-config', ['dump']).catch(() => Buffer.alloc(0));
  const lines = dump.toString().split('\n');
  return lines.filter((line) => HOST_APT_SETTINGS.test(line)).join('\n');
}

async function hostSources(etc: string, suites: readonly string[]): Promise<Source[]> {
  const parts = await readdir(join(etc, 'sources.list.d')).catch(() => []);
  const files = ['sources.list', ...parts.sort().map((name) => join('sources.list.d', name))];
  const sources: Source[] = [];
  for (const file of files) {
    const text = await readFile(join(etc, file), 'utf8').catch(() => '');
    if (file.endsWith('.list')) {
      sources.push(...text.split('\n').flatMap(parseLine));
    } else if (file.endsWith('.sources')) {
      sources.push(
        ...text
          .replace(/^#.*\n/gm, '')
          .split(/\n\s*\n/)
          .flatMap(parseStanza),
      );
    }
  }
  return sources.filter(({ suite }) => suites.includes(suite));
}

/** One-line style of sources.list(5): `deb [options] uri suite component…`. */
function parseLine(line: string): Source[] {
  const match = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)/.exec(line.trim());
  const [, options = '', uri = '', suite = '', components = ''] = match ?? [];
  const signedBy = /signed-by=(\S+)/i.exec(options)?.[1];
  return accepted([uri], [suite], components.trim().split(/\s+/), signedBy);
}

/** A stanza of deb822 style, sources.list(5). */
function parseStanza(stanza: string): Source[] {
  const words = (name: string) => {
    const value = new RegExp(`^${name}:((?:.*\\n?)(?:[ \\t]+.*\\n?)*)`, 'im').exec(`${stanza}\n`)?.[1];
    return value?.trim().split(/\s+/).filter(Boolean) ?? [];
  };
  if (!words('Types').includes('deb') || words('Enabled')[0] === 'no') {
    return [];
  }
  return accepted(words('URIs'), words('Suites'), words('Components'), words('Signed-By').join(' ') || undefined);
}

function accepted(uris: string[], suites: string[], components: string[], signedBy: string | undefined): Source[] {
  const byDebian =
    signedBy === undefined || /^\/usr\/share\/keyrings\/debian-archive-[\w-]+\.(gpg|pgp|asc)$/.test(signedBy);
  if (!byDebian || !components.includes('main')) {
    return [];
  }
  return uris.filter((uri) => /^https?:\/\//.test(uri)).flatMap((uri) => suites.map((suite) => ({ uri, suite })));
}
