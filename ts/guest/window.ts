import type { Readable } from 'node:stream';
import type { Channel, ClientChannel } from 'ssh2';

/** ssh2 grants a whole window of 2 MiB anew while up to that much waits for its reader. */
const MAX_AHEAD_BYTES = 4 * 1024 * 1024;

/**
 * ssh2 takes what a server sends past the window that it was granted. A guest that does so shall not fill this program's memory.
 * @param broken is told, each time
 */
export function holdToWindow(channel: Channel, broken: () => void): void {
  hold(channel, broken);
  hold((channel as ClientChannel).stderr as Readable, broken);
}

function hold(stream: Readable, broken: () => void): void {
  const push = stream.push.bind(stream);
  stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (stream.readableLength <= MAX_AHEAD_BYTES || chunk === null) {
      return push(chunk, encoding);
    }
    broken();
    return false;
  };
}
