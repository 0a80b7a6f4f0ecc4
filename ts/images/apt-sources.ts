import { access, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SmartVMError } from '../errors.js';
import { run } from '../util/run.js';

export const DEBIAN_SUITE = 'bookworm';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const SUITES = [DEBIAN_SUITE, `${DEBIAN_SUITE}-updates`, `${DEBIAN_SUITE}-security`];
const DEFAULT_SOURCES = [
  `deb [signed-by=${KEYRING}] http://deb.debian.org/debian ${DEBIAN_SUITE} main`,
  `deb [signed-by=${KEYRING}] http://deb.debian.org/debian ${DEBIAN_SUITE}-updates main`,
  `deb [signed-by=${KEYRING}] http://deb.debian.org/debian-security ${DEBIAN_SUITE}-security main`,
];

/** The host's own settings for reaching a mirror: a build uses them too, and leaves none of them in the image. */
const HOST_APT_SETTINGS = /^Acquire::(https?::Proxy|Retries|Check-Valid-Until|Check-Date)\b.* ".+";$/;

interface Source {
  readonly uri: string;
  readonly suite: string;
}

/**
 * Lines of a sources.list for Debian bookworm: the mirrors that a bookworm host itself uses, else deb.debian.org.
 * Only Debian's own archive is taken, signed by Debian's own keyring; a vendor's repository for the same suite is not.
 * @param etc the host's /etc/apt
 * @throws SmartVMError TOOL_MISSING when Debian's keyring is not installed
 */
export async function debianSources(etc = '/etc/apt'): Promise<string> {
  await access(KEYRING).catch((cause: unknown) => {
    const hint = 'install it with: apt-get install debian-archive-keyring';
    throw new SmartVMError('TOOL_MISSING', `Debian's archive keys are not installed (${KEYRING}); ${hint}`, { cause });
  });
  const found = await hostSources(etc);
  const own = found.map(({ uri, suite }) => `deb [signed-by=${KEYRING}] ${uri} ${suite} main`);
  return `${(found.some(({ suite }) => suite === DEBIAN_SUITE) ? [...new Set(own)] : DEFAULT_SOURCES).join('\n')}\n`;
}

/** The host's proxy and retry settings, as apt.conf(5). Empty where there is no apt-config. */
export async function hostAptSettings(): Promise<string> {
  const dump = await run('apt-config', ['dump']).catch(() => Buffer.alloc(0));
  const lines = dump.toString().split('\n');
  return lines.filter((line) => HOST_APT_SETTINGS.test(line)).join('\n');
}

async function hostSources(etc: string): Promise<Source[]> {
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
  return sources;
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
  const known = suites.filter((suite) => SUITES.includes(suite));
  return uris.filter((uri) => /^https?:\/\//.test(uri)).flatMap((uri) => known.map((suite) => ({ uri, suite })));
}
