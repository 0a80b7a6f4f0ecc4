import { type FileHandle, open, unlink } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { SmartVMError } from '../../errors.js';
import { writeFileAtomic } from '../../util/atomic-file.js';
import type { Collected } from './collect.js';
import type { Subject } from './subject.js';

/** A tar archive of one folder, compressed: what was collected, and `report.json`, which says what was not and why. */
export async function archiveOf(subject: Subject, reference: string, collected: readonly Collected[]): Promise<Buffer> {
  const { packTar } = await import('modern-tar');
  const folder = `smartvm-debug-${subject.id}`;
  const now = new Date();
  const { id, status, problem } = subject;
  const report = {
    ...{ madeAt: now.toISOString(), reference, id, status, recordProblem: problem },
    files: collected.map(({ text, ...rest }) => ({
      ...rest,
      bytes: text === undefined ? undefined : Buffer.byteLength(text),
    })),
  };
  const files = [{ name: 'report.json', text: `${JSON.stringify(report, undefined, 2)}\n` }, ...collected];
  const entries = files.flatMap(({ name, text }) => {
    if (text === undefined) {
      return [];
    }
    const body = Buffer.from(text);
    return [{ header: { name: `${folder}/${name}`, size: body.length, mode: 0o600, mtime: now }, body }];
  });
  return await promisify(gzip)(await packTar(entries));
}

/**
 * Writes an archive for this user's eyes alone.
 * @param force whether it may take the place of a file that is there
 * @throws SmartVMError FILE_WRITE_FAILED; nothing of it is then left
 */
export async function writeArchive(path: string, archive: Uint8Array, force: boolean): Promise<void> {
  if (force) {
    await writeFileAtomic(path, archive);
    return;
  }
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'wx', 0o600); // neither over a file nor by a link
    await file.chmod(0o600);
    await file.writeFile(archive);
    await file.sync();
  } catch (cause) {
    if (file) {
      await unlink(path).catch(() => undefined);
    }
    const exists = (cause as NodeJS.ErrnoException).code === 'EEXIST';
    const why = exists ? 'it exists: name another by --output, or replace it with --force' : (cause as Error).message;
    throw new SmartVMError('FILE_WRITE_FAILED', `cannot write ${path}: ${why}`, { cause });
  } finally {
    await file?.close();
  }
}
