import type { Stats } from 'node:fs';
import { dirname, join } from 'node:path';
import { shellWord } from '../util/shell-word.js';
import type { Host } from './host.js';

/** Something on the way to a path that lets others put something else in its place. */
export interface PathFault {
  /** `fail`: whoever may enter the directory can do it. `warn`: those of one group, or of one user. */
  readonly verdict: 'warn' | 'fail';
  readonly path: string;
  readonly problem: string;
  readonly remedy: string;
}

export interface Walk {
  readonly faults: readonly PathFault[];
  /** The path itself, behind the links of its parents; undefined when it is not there (yet). */
  readonly stat: Stats | undefined;
  /** The last directory on the way that is there. */
  readonly deepest: string;
  readonly deepestStat: Stats | undefined;
}

/** As the kernel's MAXSYMLINKS. */
const MAX_LINKS = 40;

const STICKY = 0o1000;
const GROUP_WRITE = 0o020;
const OTHERS_WRITE = 0o002;

/**
 * Goes to a path as the kernel does, from `/` and through links, and looks at every directory that it comes through.
 *
 * @param last what to do with a link that is the path's last part
 */
export async function walkTo(host: Host, path: string, last: 'stay' | 'follow' = 'stay'): Promise<Walk> {
  const faults: PathFault[] = [];
  const root = await host.stat('/');
  let [directory, directoryStat] = ['/', root instanceof Error ? undefined : root];
  let parts = partsOf(path);
  for (let links = 0; ; ) {
    faults.push(...(directoryStat ? directoryFaults(host, directory, directoryStat) : []));
    const [name, ...rest] = parts;
    const here = { faults: unique(faults), deepest: directory, deepestStat: directoryStat };
    if (name === undefined) {
      return { ...here, stat: directoryStat };
    }
    if (name === '..') {
      const parent = await host.stat(dirname(directory));
      [directory, directoryStat] = [dirname(directory), parent instanceof Error ? undefined : parent];
      parts = rest;
      continue;
    }
    const next = join(directory, name);
    const stat = await host.stat(next);
    if (stat instanceof Error) {
      return { ...here, faults: [...here.faults, ...lookFaults(next, stat)], stat: undefined };
    }
    const follows = stat.isSymbolicLink() && (rest.length > 0 || last === 'follow');
    if (!follows && (rest.length === 0 || !stat.isDirectory())) {
      return { ...here, stat: rest.length === 0 ? stat : undefined };
    }
    parts = rest;
    if (follows) {
      faults.push(...ownerFaults(host, next, stat, 'link'));
      const target = await host.link(next);
      if (target === undefined || ++links > MAX_LINKS) {
        return { ...here, stat: undefined };
      }
      parts = [...partsOf(target.startsWith('/') ? '' : directory), ...partsOf(target), ...rest];
      [directory, directoryStat] = ['/', root instanceof Error ? undefined : root];
    } else {
      [directory, directoryStat] = [next, stat];
    }
  }
}

function directoryFaults(host: Host, path: string, stat: Stats): PathFault[] {
  return [...ownerFaults(host, path, stat, 'directory'), ...modeFaults(host, path, stat)];
}

export function ownerFaults(host: Host, path: string, stat: Stats, kind: 'directory' | 'link' | 'file'): PathFault[] {
  if (stat.uid === 0 || stat.uid === host.uid) {
    return [];
  }
  const chown = `chown${kind === 'link' ? ' -h' : ''} ${host.uid} ${shellWord(path)}`;
  const remedy = `use another path, or, where it is nobody else's: ${chown}`;
  return [{ verdict: 'fail', path, problem: `the ${kind} ${path} belongs to uid ${stat.uid}`, remedy }];
}

/** What a mode lets others do. The sticky bit keeps them, in a directory, from what is not theirs. */
export function modeFaults(host: Host, path: string, stat: Stats): PathFault[] {
  const kind = stat.isDirectory() ? 'directory' : 'file';
  if (kind === 'directory' && stat.mode & STICKY) {
    return [];
  }
  const mode = (stat.mode & 0o7777).toString(8).padStart(4, '0');
  if (stat.mode & OTHERS_WRITE) {
    const problem = `every user can write to the ${kind} ${path} (mode ${mode})`;
    return [{ verdict: 'fail', path, problem, remedy: `chmod o-w ${shellWord(path)}` }];
  }
  if (stat.mode & GROUP_WRITE && stat.gid !== 0 && stat.gid !== host.gid) {
    const problem = `the group ${stat.gid} can write to the ${kind} ${path} (mode ${mode})`;
    return [{ verdict: 'warn', path, problem, remedy: `chmod g-w ${shellWord(path)}` }];
  }
  return [];
}

function lookFaults(path: string, error: NodeJS.ErrnoException): PathFault[] {
  if (error.code === 'ENOENT') {
    return [];
  }
  const remedy = `run this as a user who may enter ${shellWord(dirname(path))}`;
  return [{ verdict: 'warn', path, problem: `${path} cannot be looked at (${error.code})`, remedy }];
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

function unique(faults: readonly PathFault[]): PathFault[] {
  return [...new Map(faults.map((fault) => [fault.problem, fault])).values()];
}
