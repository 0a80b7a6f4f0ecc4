import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { defaultRuntimeDir } from '../../config/directories.js';

/**
 * What tells an interface of ours from one that somebody else has given the same name, be it by a SmartVM that keeps what it knows of
 * this host's networks in another directory. The directory's name is written so that ip(8) takes it for one word.
 */
export function aliasOf(name: string): string {
  return `${PREFIX}${name}:${encodeURI(resolve(defaultRuntimeDir())).replaceAll("'", '%27')}`;
}

const PREFIX = 'smartvm:';

/** The directory of programs that have made interfaces of this host and know nothing of ours, as we know nothing of theirs. */
export function otherRuntimeDir(): string | undefined {
  const aliases = readdirSync('/sys/class/net').map((name) => ({ name, alias: readAlias(name) }));
  const other = aliases.find(({ name, alias }) => alias?.startsWith(`${PREFIX}${name}:`) && alias !== aliasOf(name));
  return other?.alias && decodeURIComponent(other.alias.slice(`${PREFIX}${other.name}:`.length));
}

/** Whose an interface of the host is. */
export function ownerOf(name: string): 'absent' | 'ours' | 'stranger' {
  if (!existsSync(`/sys/class/net/${name}`)) {
    return 'absent';
  }
  const alias = readAlias(name);
  return alias === undefined ? 'absent' : alias === aliasOf(name) ? 'ours' : 'stranger';
}

/** Undefined for one that has gone meanwhile. */
function readAlias(name: string): string | undefined {
  try {
    return readFileSync(`/sys/class/net/${name}/ifalias`, 'utf8').trim();
  } catch {
    return undefined;
  }
}
