import type { Duplex } from 'node:stream';
import { jsonText } from '../api/json-value.js';
import type { MmdsStore } from './store.js';

/** The name under which the guest's agent takes the stream. */
export const MMDS_STREAM = 'mmds';

/**
 * Tells the guest's agent of the MMDS, which the agent then answers for: a line of JSON with all of it now, and one whenever it
 * changes, until the stream ends. While the agent does not read, changes are not kept: the line after that has them all.
 * @param address the IPv4 address at which the MMDS is to answer
 * @param dial opens the stream; undefined when the agent does not take it, for it is an older one
 */
export async function feedMmds(
  store: MmdsStore,
  address: string,
  dial: () => Promise<Duplex | undefined>,
): Promise<void> {
  const stream = await dial();
  if (!stream) {
    return;
  }
  let isFull = false;
  let isStale = false;
  const send = () => {
    isStale = isFull;
    isFull ||= !stream.write(line(store, address));
  };
  stream.on('drain', () => {
    isFull = false;
    if (isStale) {
      send();
    }
  });
  stream.on('error', () => undefined); // the next session of the agent has a stream of its own
  stream.once('close', () => store.changes.off('change', send));
  stream.resume(); // what the guest says here means nothing
  store.changes.on('change', send);
  send();
}

function line({ version, imdsCompat, value }: MmdsStore, address: string): string {
  return `${JSON.stringify({ version, address, imdsCompat }).slice(0, -1)},"data":${jsonText(value)}}\n`;
}
