import { rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { isSmartVMError, SmartVMError } from '../errors.js';
import { syncDirectory } from './atomic-file.js';
import { throwIfCanceled } from './deadline.js';
import { TransferFailure } from './http/failure.js';
import { type GetOptions, type HttpAnswer, httpGet } from './http/get.js';
import { Part } from './http/part.js';
import type { Reach } from './http/reach.js';
import { printableUrl } from './redact.js';

export type { GetOptions } from './http/get.js';

export interface DownloadProgress {
  readonly receivedBytes: number;
  /** As the server says it, or as it was said beforehand. */
  readonly totalBytes: number | undefined;
}

export interface DownloadOptions extends GetOptions {
  /** Of all of it, in hexadecimal. */
  readonly sha256?: string | undefined;
  /** Its exact size, where it is known. */
  readonly sizeBytes?: number | undefined;
  /** Its ETag as a listing has it, quotes included. */
  readonly etag?: string | undefined;
  /** More is refused, whatever the server says. */
  readonly maxBytes: number;
  /** The file's mode. Default 0600. */
  readonly mode?: number | undefined;
  /**
   * Where what has come is kept when this program is killed or the call is canceled, and where what another left is looked for: on
   * the target's file system, and locked by the caller. Default: beside the target, and never used again.
   */
  readonly partPath?: string | undefined;
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
}

export interface Downloaded {
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Where it came from in the end, without what may be secret in it. */
  readonly url: string;
}

/**
 * Fetches one artifact to `target`, in a folder that is there. What is at `target` is replaced by the whole and checked artifact, or
 * stays as it was; no temporary file is left. Where a connection breaks, and the server has a strong ETag, the rest alone is fetched.
 * (A kill leaves `<target>.<uuid>.part`, or `partPath`, which the next goes on with.)
 * @throws SmartVMError DOWNLOAD_FAILED, DOWNLOAD_CORRUPT (size or sha256), DOWNLOAD_REFUSED (a redirect), FILE_WRITE_FAILED, CANCELED
 */
export async function download(url: string, target: string, options: DownloadOptions): Promise<Downloaded> {
  throwIfCanceled(options.signal, `fetching ${printableUrl(url)}`);
  await using part = await writing(target, () => Part.open(target, url, options.partPath));
  try {
    return await fetchTo(url, target, part, options).catch(async (error: unknown) => {
      if (!part.inherited || !isSmartVMError(error, 'DOWNLOAD_CORRUPT')) {
        throw error;
      }
      await writing(target, () => part.restart()); // what another program had left may be what is wrong
      return await fetchTo(url, target, part, options);
    });
  } catch (error) {
    if (options.partPath === undefined || !isSmartVMError(error, 'CANCELED')) {
      await part.remove();
    } else {
      await part.settle().catch(() => undefined);
    }
    throw error;
  }
}

async function fetchTo(url: string, target: string, part: Part, options: DownloadOptions): Promise<Downloaded> {
  return await httpGet(url, { ...options, range: () => part.range() }, async (answer) => {
    const got = await receive(answer, part, target, options);
    throwIfCanceled(options.signal, `fetching ${answer.url}`);
    await writing(target, () => part.moveTo(target));
    await writing(target, () => syncDirectory(dirname(target))).catch(async (error: unknown) => {
      await rm(target, { force: true }); // who is told that it failed does not look for it
      throw error;
    });
    return { path: target, ...got, url: answer.url };
  });
}

async function receive(
  answer: HttpAnswer,
  part: Part,
  target: string,
  options: DownloadOptions,
): Promise<{ sizeBytes: number; sha256: string }> {
  const announced = await notingFailure(target, () => part.begin(answer));
  const totalBytes = judgedSize(answer, announced, options);
  const most = totalBytes ?? options.maxBytes;
  options.onProgress?.({ receivedBytes: part.sizeBytes, totalBytes });
  try {
    for await (const piece of answer.body()) {
      if (part.sizeBytes + piece.length > most) {
        throw corrupt(answer, `it has more than the ${most} bytes that it may have`);
      }
      await writing(target, () => part.write(piece));
      options.onProgress?.({ receivedBytes: part.sizeBytes, totalBytes });
    }
  } finally {
    await writing(target, () => part.settle());
  }
  if (totalBytes !== undefined && part.sizeBytes !== totalBytes) {
    throw corrupt(answer, `it has ${part.sizeBytes} bytes, not ${totalBytes}`);
  }
  const { sizeBytes, sha256 } = await writing(target, () => part.finish(options.mode ?? 0o600));
  if (options.sha256 !== undefined && options.sha256.toLowerCase() !== sha256) {
    throw corrupt(answer, `its sha256 is ${sha256}, not ${options.sha256}`);
  }
  return { sizeBytes, sha256 };
}

/** What will come, judged before any of it is written. */
function judgedSize(
  answer: HttpAnswer,
  length: number | undefined,
  { maxBytes, sizeBytes, etag }: DownloadOptions,
): number | undefined {
  const { 'content-encoding': encoding = 'identity', etag: current } = answer.headers;
  if (encoding !== 'identity') {
    throw corrupt(answer, `it comes encoded as ${encoding}, which was not asked for`);
  }
  if (etag !== undefined && current !== undefined && current !== etag) {
    throw corrupt(answer, `its ETag is ${current}, not ${etag}: it has been replaced meanwhile`);
  }
  if (length !== undefined && sizeBytes !== undefined && length !== sizeBytes) {
    throw corrupt(answer, `it has ${length} bytes, not ${sizeBytes}`);
  }
  const announced = length ?? sizeBytes;
  if (announced !== undefined && !(announced <= maxBytes)) {
    throw corrupt(answer, `it has ${announced} bytes, which is over the limit of ${maxBytes}`);
  }
  return announced;
}

/**
 * The text of a small file.
 * @throws SmartVMError DOWNLOAD_FAILED, DOWNLOAD_CORRUPT (longer than `maxBytes`), DOWNLOAD_REFUSED, CANCELED
 */
export async function fetchText(url: string, maxBytes: number, options: GetOptions = {}): Promise<string> {
  return (await fetchDocument(url, maxBytes, options)).text;
}

/** As {@link fetchText}, with the reach of where it came from: what it names must not be narrower. */
export async function fetchDocument(
  url: string,
  maxBytes: number,
  options: GetOptions = {},
): Promise<{ readonly text: string; readonly reach: Reach }> {
  return await httpGet(url, options, async (answer) => {
    const pieces: Buffer[] = [];
    let length = 0;
    for await (const piece of answer.body()) {
      length += piece.length;
      if (length > maxBytes) {
        throw corrupt(answer, `it is over the limit of ${maxBytes} bytes`);
      }
      pieces.push(piece);
    }
    return { text: Buffer.concat(pieces).toString('utf8'), reach: answer.reach };
  });
}

const MAX_CHECKSUMS_BYTES = 64 << 10;

/**
 * The sha256 of the file at `url` by the file of sha256sum(1) beside it, such as `<url>.sha256.txt`.
 * @throws SmartVMError DOWNLOAD_CORRUPT when it has no line for that file, and what {@link fetchText} throws
 */
export async function fetchChecksum(url: string, suffix: string, options: GetOptions = {}): Promise<string> {
  const name = basename(new URL(url).pathname);
  const beside = new URL(url);
  beside.pathname += suffix;
  const text = await fetchText(beside.href, MAX_CHECKSUMS_BYTES, options);
  for (const line of text.split('\n')) {
    const [, sha256, file] = /^\s*([0-9a-f]{64})(?:\s+\*?(\S+))?\s*$/i.exec(line) ?? [];
    if (sha256 !== undefined && (file === undefined || basename(file) === name)) {
      return sha256.toLowerCase();
    }
  }
  const shown = printableUrl(beside);
  throw new SmartVMError('DOWNLOAD_CORRUPT', `${shown} has no sha256 of ${name}; is it the right server?`, {
    details: { url: shown },
  });
}

/** Where a URL redirects to, which is not followed; undefined when it does not. */
export async function redirectTarget(url: string, options: GetOptions = {}): Promise<string | undefined> {
  return await httpGet(url, { ...options, follow: false }, async ({ headers }) => headers.location);
}

function corrupt({ url }: HttpAnswer, what: string): SmartVMError {
  const remedy = 'nothing of it is kept; try again, and if it stays so distrust the server or the proxy';
  return new SmartVMError('DOWNLOAD_CORRUPT', `${url} is not what it should be: ${what}; ${remedy}`, {
    details: { url },
  });
}

/** As {@link writing}, for what also judges the answer. */
async function notingFailure<T>(target: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof TransferFailure ? error : await writing(target, () => Promise.reject(error));
  }
}

async function writing<T>(target: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (cause) {
    throw new SmartVMError('FILE_WRITE_FAILED', `cannot write ${target}: ${(cause as Error).message}`, { cause });
  }
}
