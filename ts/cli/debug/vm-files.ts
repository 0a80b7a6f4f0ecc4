import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readBoundedText, withBoundedFile } from '../../util/bounded-file.js';
import { MAX_RECORD_BYTES } from '../../vmm/registry/record.js';
import type { Subject } from './subject.js';

const MAX_JSON_BYTES = MAX_RECORD_BYTES;
/** More than a keeper keeps of a console, and of a log. */
const MAX_LOG_BYTES = 2 ** 21;
const MAX_LISTED = 1_000;
const MAX_DEPTH = 4;

/** A file of JSON in the VM's directory. What is no JSON may be anything, and is only told of. */
export async function jsonFile({ runtimeDir }: Subject, name: string): Promise<unknown> {
  const text = await readBoundedText(join(runtimeDir, name), MAX_JSON_BYTES, false);
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own words would quote it.
    throw new Error(`its ${Buffer.byteLength(text)} bytes are no JSON, and may be anything: they are left out`);
  }
}

/** A log of the keeper's, with the older part that it has moved aside. */
export async function keptLog({ runtimeDir }: Subject, name: string): Promise<string> {
  const path = join(runtimeDir, name);
  const [older, current] = await Promise.all([tail(`${path}.1`).catch(() => ''), tail(path)]);
  return older + current;
}

/** What the VMM logs where its configuration says so, as far as that is a file. */
export async function loggerFile({ record }: Subject): Promise<string | undefined> {
  const logger = record?.config.logger;
  if (logger && logger.logPath === undefined) {
    throw new Error('it goes into a FIFO, for the program that started the VM');
  }
  return logger?.logPath === undefined ? undefined : await tail(logger.logPath);
}

/** The end of a file, from the beginning of a line on. */
async function tail(path: string): Promise<string> {
  const limits = { maxBytes: Number.POSITIVE_INFINITY, followLink: false };
  return await withBoundedFile(path, limits, async (file, size) => {
    const length = Math.min(size, MAX_LOG_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    const text = buffer.toString('utf8', 0, bytesRead);
    return size > length ? text.slice(text.indexOf('\n') + 1) : text;
  });
}

/** What is in the VM's directory: kinds, modes, owners, sizes and times, and no content. */
export async function listing({ runtimeDir }: Subject): Promise<string> {
  const lines: string[] = [];
  await list(runtimeDir, '.', lines, 0);
  return `${lines.join('\n')}\n`;
}

async function list(path: string, shown: string, lines: string[], depth: number): Promise<void> {
  if (lines.length >= MAX_LISTED) {
    return;
  }
  const stat = await lstat(path);
  const kind = (stat.mode & 0o170000).toString(8);
  const owner = `${stat.uid}:${stat.gid}`;
  lines.push(
    `${kind} ${(stat.mode & 0o7777).toString(8).padStart(4, '0')} ${owner} ${stat.size} ${stat.mtime.toISOString()} ${shown}`,
  );
  if (stat.isDirectory() && depth < MAX_DEPTH) {
    for (const name of (await readdir(path)).toSorted()) {
      const below = list(join(path, name), `${shown}/${name}`, lines, depth + 1);
      await below.catch((error: Error) => lines.push(`${shown}/${name}: ${error.message}`));
    }
  }
}
