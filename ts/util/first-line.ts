import type { Readable } from 'node:stream';

/**
 * Reads the first line of a stream, up to a line feed, and puts what came behind it in the same read back for the stream's reader.
 * @returns the line with its line feed; without it, what was there before the stream ended or was longer than `maxBytes`
 */
export function readFirstLine(stream: Readable, maxBytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let line = Buffer.alloc(0);
    const settle = (problem?: Error) => {
      stream.off('readable', onReadable).off('end', onEnd).off('error', settle).off('close', onEnd);
      problem ? reject(problem) : resolve(line.toString('utf8'));
    };
    const onEnd = () => settle();
    const onReadable = () => {
      for (let chunk = stream.read() as Buffer | null; chunk !== null; chunk = stream.read() as Buffer | null) {
        line = Buffer.concat([line, chunk]);
        const end = line.indexOf('\n') + 1;
        if (end > 0 && end <= maxBytes) {
          stream.unshift(line.subarray(end));
          line = line.subarray(0, end);
          settle();
          return;
        }
        if (line.length > maxBytes) {
          line = line.subarray(0, maxBytes + 1);
          settle();
          return;
        }
      }
    };
    stream.on('readable', onReadable).on('end', onEnd).on('error', settle).on('close', onEnd);
  });
}
