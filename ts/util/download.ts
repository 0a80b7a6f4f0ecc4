import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { SmartVMError } from '../errors.js';
import { syncDirectory } from './atomic-file.js';
import { throwIfCanceled } from './deadline.js';
import { type GetOptions, type HttpAnswer, httpGet } from './http/get.js';
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
  /** More is refused, whatever the server says. */
  readonly maxBytes: number;
  /** The file's mode. Default 0600. */
  readonly mode?: number | undefined;
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
 * stays as it was; no temporary file is left. (A kill leaves one: `<target>.<uuid>.part`.)
 * @throws SmartVMError DOWNLOAD_FAILED, DOWNLOAD_CORRUPT (size or sha256), DOWNLOAD_REFUSED (a redirect), FILE_WRITE_FAILED, CANCELED
 */
export async function download(url: string, target: string, options: DownloadOptions): Promise<Downloaded> {
  return await httpGet(url, options, async (answer) => {
    const temporary = `${target}.${randomUUID()}.part`;
    // 'wx' is O_EXCL: a planted link is an error, not a target.
    const file = await writing(target, () => open(temporary, 'wx', 0o600));
    try {
      const got = await receive(answer, file, target, options).finally(() => file.close());
      throwIfCanceled(options.signal, `fetching ${answer.url}`);
      await writing(target, () => rename(temporary, target));
      await writing(target, () => syncDirectory(dirname(target)));
      return { path: target, ...got, url: answer.url };
    } catch (error) {
      await unlink(temporary).catch(() => undefined);
      throw error;
    }
  });
}

async function receive(
  answer: HttpAnswer,
  file: FileHandle,
  target: string,
  options: DownloadOptions,
): Promise<{ sizeBytes: number; sha256: string }> {
  const totalBytes = announcedSize(answer, options);
  const hash = createHash('sha256');
  let sizeBytes = 0;
  options.onProgress?.({ receivedBytes: 0, totalBytes });
  for await (const piece of answer.body()) {
    sizeBytes += piece.length;
    if (sizeBytes > (totalBytes ?? options.maxBytes)) {
      throw corrupt(answer, `it has more than the ${totalBytes ?? options.maxBytes} bytes that it may have`);
    }
    hash.update(piece);
    await writing(target, () => file.writeFile(piece));
    options.onProgress?.({ receivedBytes: sizeBytes, totalBytes });
  }
  if (totalBytes !== undefined && sizeBytes !== totalBytes) {
    throw corrupt(answer, `it has ${sizeBytes} bytes, not ${totalBytes}`);
  }
  const sha256 = hash.digest('hex');
  if (options.sha256 !== undefined && options.sha256.toLowerCase() !== sha256) {
    throw corrupt(answer, `its sha256 is ${sha256}, not ${options.sha256}`);
  }
  await writing(target, async () => {
    await file.chmod(options.mode ?? 0o600); // the umask has no say
    await file.sync();
  });
  return { sizeBytes, sha256 };
}

/** What will come, judged before any of it is written. */
function announcedSize(answer: HttpAnswer, { maxBytes, sizeBytes }: DownloadOptions): number | undefined {
  const { 'content-length': text, 'content-encoding': encoding = 'identity' } = answer.headers;
  if (encoding !== 'identity') {
    throw corrupt(answer, `it comes encoded as ${encoding}, which was not asked for`);
  }
  const length = text === undefined ? undefined : Number(text);
  if (length !== undefined && sizeBytes !== undefined && length !== sizeBytes) {
    throw corrupt(answer, `it has ${length} bytes, not ${sizeBytes}`);
  }
  if ((length ?? 0) > maxBytes) {
    throw corrupt(answer, `it has ${length} bytes, which is over the limit of ${maxBytes}`);
  }
  return length ?? sizeBytes;
}

/**
 * The text of a small file.
 * @throws SmartVMError DOWNLOAD_FAILED, DOWNLOAD_CORRUPT (longer than `maxBytes`), DOWNLOAD_REFUSED, CANCELED
 */
export async function fetchText(url: string, maxBytes: number, options: GetOptions = {}): Promise<string> {
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
    return Buffer.concat(pieces).toString('utf8');
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

async function writing<T>(target: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (cause) {
    throw new SmartVMError('FILE_WRITE_FAILED', `cannot write ${target}: ${(cause as Error).message}`, { cause });
  }
}
