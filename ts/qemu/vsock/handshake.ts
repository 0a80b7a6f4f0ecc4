import type { Socket } from 'node:net';

/** `CONNECT 4294967295\n` is shorter; Firecracker reads no more. */
const MAX_LINE_BYTES = 32;
const DEADLINE_MS = 5000;

/**
 * Reads the line that opens a connection and leaves what follows it on the socket.
 * @returns the port, or undefined when the line is none of `CONNECT <port>\n`, does not come, or does not end
 */
export function readConnectRequest(socket: Socket): Promise<number | undefined> {
  return new Promise((resolve) => {
    let line = Buffer.alloc(0);
    const done = (port: number | undefined) => {
      clearTimeout(timer);
      socket.off('data', onData).off('end', onEnd).off('close', onEnd);
      resolve(port);
    };
    const onEnd = () => done(undefined);
    const onData = (chunk: Buffer) => {
      line = Buffer.concat([line, chunk]);
      const end = line.subarray(0, MAX_LINE_BYTES).indexOf('\n');
      if (end < 0 && line.length < MAX_LINE_BYTES) {
        return;
      }
      socket.pause();
      done(end < 0 ? undefined : parseConnect(line.toString('latin1', 0, end)));
      if (line.length > end + 1) {
        socket.unshift(line.subarray(end + 1));
      }
    };
    const timer = setTimeout(onEnd, DEADLINE_MS);
    socket.on('data', onData).once('end', onEnd).once('close', onEnd);
  });
}

function parseConnect(line: string): number | undefined {
  const [word, port] = line.trim().split(/\s+/);
  const number = word?.toLowerCase() === 'connect' && /^\+?[0-9]+$/.test(port ?? '') ? Number(port) : Number.NaN;
  return number < 2 ** 32 ? number : undefined;
}
