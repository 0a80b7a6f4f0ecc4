import { refused } from './answers.js';
import { hostFailure } from './host-file.js';
import { MAX_RECORD_BYTES, RECORD, type RecordWriter, type WireEntry } from './records.js';
import type { FileContent } from './types.js';

type Chunks = AsyncIterator<string | Uint8Array>;

/**
 * Sends one file. When nobody takes it any more, that is told at once, though its content be idle.
 * @param over settles when nobody takes more
 * @throws SmartVMError HOST_FILE_FAILED when its content breaks off; what `over` rejects with
 */
export async function sendContent(
  to: RecordWriter,
  entry: WireEntry,
  content: FileContent,
  over: Promise<unknown>,
): Promise<void> {
  const chunks = chunksOf(content);
  const sending = sendChunks(to, entry, chunks);
  const broken = over.then(() => {
    throw refused('it is done before it has all');
  });
  try {
    await Promise.race([sending, broken]);
  } catch (error) {
    sending.catch(() => undefined); // what the end of its content does to it
    Promise.resolve(chunks.return?.()).catch(() => undefined); // one that waits for more ends in its own time
    throw error;
  }
}

async function sendChunks(to: RecordWriter, entry: WireEntry, chunks: Chunks): Promise<void> {
  await to.writeEntry(entry);
  try {
    for await (const chunk of { [Symbol.asyncIterator]: () => chunks }) {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
      for (let start = 0; start < bytes.length; start += MAX_RECORD_BYTES) {
        await to.write(RECORD.data, bytes.subarray(start, start + MAX_RECORD_BYTES));
      }
      if (to.isOver) {
        return; // it has failed, and says why itself
      }
    }
  } catch (error) {
    throw hostFailure(error, 'the content');
  }
  await to.write(RECORD.finish);
  await to.end();
}

function chunksOf(content: FileContent): Chunks {
  const chunks = typeof content === 'string' || content instanceof Uint8Array ? [content] : content;
  // Arrays and the like are no type's promise, but `for await` takes them.
  const { [Symbol.asyncIterator]: begin, [Symbol.iterator]: beginSync } = chunks as AsyncIterable<string> &
    Iterable<string>;
  return (begin ?? beginSync).call(chunks) as Chunks;
}

/** Ends a stream of which nobody takes more. */
export function endContent(content: FileContent): void {
  if (typeof content === 'object' && 'destroy' in content) {
    content.destroy();
  }
}
