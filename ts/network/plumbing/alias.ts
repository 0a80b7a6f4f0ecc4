import { existsSync, readFileSync } from 'node:fs';

/** What tells an interface of ours from one that somebody else has given the same name. */
export function aliasOf(name: string): string {
  return `smartvm:${name}`;
}

/** Whose an interface of the host is. */
export function ownerOf(name: string): 'absent' | 'ours' | 'stranger' {
  const folder = `/sys/class/net/${name}`;
  if (!existsSync(folder)) {
    return 'absent';
  }
  try {
    return readFileSync(`${folder}/ifalias`, 'utf8').trim() === aliasOf(name) ? 'ours' : 'stranger';
  } catch {
    return 'absent'; // it has gone meanwhile
  }
}
