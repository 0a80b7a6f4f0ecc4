import { hostFailure } from './host-file.js';
import { MAX_RECORD_BYTES, RECORD, type RecordWriter, type WireEntry } from './records.js';
import type { FileContent } from './types.js';

/** Sends one file. @throws SmartVMError HOST_FILE_FAILED when its content breaks off */
export async function contentRecords(to: RecordWriter, entry: WireEntry, content: FileContent): Promise<void> {
  await to.writeEntry(entry);
  const chunks = typeof content === 'string' || content instanceof Uint8Array ? [content] : content;
  try {
    for await (const chunk of chunks as AsyncIterable<string | Uint8Array>) {
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
