import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { defaultRuntimeDir } from '../../config/directories.js';
import { mayHaveNetworks } from '../host-state.js';

const PREFIX = 'smartvm:';
const INTERFACES = '/sys/class/net';
/** Bytes: of the 255 that the kernel takes for an alias, what is left beside the longest name. */
const MAX_WORD = 255 - `${PREFIX}:`.length - 15;

/**
 * What tells an interface of ours from one that somebody else has given the same name, be it by a SmartVM that keeps what it knows of
 * this host's networks in another directory.
 */
export function aliasOf(name: string): string {
  return `${PREFIX}${name}:${directoryWord()}`;
}

/** An interface of programs that know nothing of our networks, as we know nothing of theirs. */
export interface ForeignLink {
  readonly name: string;
  /** Where they keep what they know; undefined where the interface does not say. */
  readonly runtimeDir: string | undefined;
}

/** One whose programs have networks up, or may have; those that are left of what nobody has on record count for nothing. */
export function linkElsewhere(): ForeignLink | undefined {
  const own = directoryWord();
  for (const name of readdirSync(INTERFACES)) {
    const link = foreignLink(name, own);
    if (link && (link.runtimeDir === undefined || mayHaveNetworks(link.runtimeDir))) {
      return link;
    }
  }
  return undefined;
}

/** Undefined for an interface that is ours, or not SmartVM's. */
export function foreignLink(name: string, own: string = directoryWord()): ForeignLink | undefined {
  const [alias, prefix] = [readAlias(name), `${PREFIX}${name}:`];
  const word = alias?.startsWith(prefix) ? alias.slice(prefix.length) : own;
  return word === own ? undefined : { name, runtimeDir: directoryOf(word) };
}

/** Whose an interface of the host is. */
export function ownerOf(name: string): 'absent' | 'ours' | 'stranger' {
  if (!existsSync(join(INTERFACES, name))) {
    return 'absent';
  }
  const alias = readAlias(name);
  return alias === undefined ? 'absent' : alias === aliasOf(name) ? 'ours' : 'stranger';
}

/** Our directory, written so that ip(8) takes it for one word, and no comment; in place of a path that is too long, its digest. */
function directoryWord(): string {
  const path = realPath(resolve(defaultRuntimeDir()));
  const word = encodeURIComponent(path).replaceAll('%2F', '/').replaceAll("'", '%27');
  return word.length > MAX_WORD ? `sha256-${createHash('sha256').update(path).digest('hex')}` : word;
}

function directoryOf(word: string): string | undefined {
  try {
    return word.startsWith('/') ? decodeURIComponent(word) : undefined;
  } catch {
    return undefined;
  }
}

/** By whatever links two programs name a directory, it is the same; one that is not there yet has a folder that is. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path === dirname(path) ? path : join(realPath(dirname(path)), basename(path));
  }
}

/** Undefined for one that has gone meanwhile. */
function readAlias(name: string): string | undefined {
  try {
    return readFileSync(join(INTERFACES, name, 'ifalias'), 'utf8').trim();
  } catch {
    return undefined;
  }
}
