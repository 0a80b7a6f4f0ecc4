import type { Duplex } from 'node:stream';

/** A stream that can end by a reset, as a TCP socket can. */
interface Resettable {
  resetAndDestroy?: () => void;
}

/** Joins two connections: data, the end of each direction, and a breach, which is not passed on as an orderly end. */
export function joinConnections(one: Duplex, other: Duplex): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.pipe(to);
    from.on('error', () => undefined); // 'close' follows
    from.once('close', () => {
      if (from.errored || !from.readableEnded || !from.writableFinished) {
        cut(to);
      }
    });
  }
}

/** Ends a connection so that the other side is told that it broke, where it can be told. */
export function cut(stream: Duplex): void {
  const { resetAndDestroy } = stream as Resettable;
  resetAndDestroy ? resetAndDestroy.call(stream) : stream.destroy();
}
