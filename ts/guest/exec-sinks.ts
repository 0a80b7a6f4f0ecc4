import type { PassThrough, Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { StringDecoder } from 'node:string_decoder';
import type { ExecEvent, OutputEncoding, OutputOf } from './exec-types.js';

/** Where one of a command's output streams goes. */
export interface Sink<T> {
  /** Takes all of it, no faster than it is wanted; settles at its end. */
  take(source: Readable, overflow: () => void): Promise<void>;
  /** What the result has of it. */
  value(): T;
}

/** Keeps what is written, up to a limit; what comes behind that is dropped. */
export function collector<E extends OutputEncoding>(limit: number, encoding: E): Sink<OutputOf<E>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  return {
    take(source, overflow) {
      const onData = (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= limit) {
          chunks.push(chunk);
          return;
        }
        source.off('data', onData).resume();
        overflow();
      };
      source.on('data', onData);
      return ended(source);
    },
    value: () => encoded(Buffer.concat(chunks), encoding),
  };
}

/** Passes on to a stream. */
export function streamSink<E extends OutputEncoding>(to: PassThrough, encoding: E): Sink<OutputOf<E>> {
  return {
    take(source) {
      source.pipe(to);
      // One that is destroyed wants no more of it.
      finished(to, { readable: false }).catch(() => source.unpipe(to).resume());
      return ended(source);
    },
    value: () => encoded(Buffer.alloc(0), encoding),
  };
}

/** Passes on as events. */
export function eventSink<E extends OutputEncoding>(
  kind: 'stdout' | 'stderr',
  queue: EventQueue<ExecEvent<OutputOf<E>>>,
  encoding: E,
): Sink<OutputOf<E>> {
  const decoder = encoding === 'buffer' ? undefined : new StringDecoder(encoding as BufferEncoding);
  const push = (data: string | Buffer) => data.length > 0 && queue.push({ kind, data: data as OutputOf<E> });
  return {
    take(source) {
      queue.watch(source);
      source.on('data', (chunk: Buffer) => push(decoder ? decoder.write(chunk) : chunk));
      source.once('end', () => push(decoder ? decoder.end() : ''));
      return ended(source);
    },
    value: () => encoded(Buffer.alloc(0), encoding),
  };
}

/** Events on their way to a loop. While there are any, the sources are paused. */
export class EventQueue<T> {
  readonly #sources: Readable[] = [];
  readonly #events: T[] = [];
  #isOver = false;
  #wake: (() => void) | undefined;

  watch(source: Readable): void {
    this.#sources.push(source);
  }

  push(event: T): void {
    this.#events.push(event);
    for (const source of this.#sources) {
      source.pause();
    }
    this.#wake?.();
  }

  /** What comes now is the last. */
  end(): void {
    this.#isOver = true;
    this.#wake?.();
  }

  async *drain(): AsyncGenerator<T, void, undefined> {
    for (;;) {
      for (let event = this.#events.shift(); event !== undefined; event = this.#events.shift()) {
        yield event;
      }
      if (this.#isOver) {
        return;
      }
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      for (const source of this.#sources) {
        source.resume();
      }
      await woken;
    }
  }
}

/** The end of a stream; one that breaks off never has one, which its process explains. */
function ended(source: Readable): Promise<void> {
  return new Promise((resolve) => {
    source.once('end', resolve);
  });
}

function encoded<E extends OutputEncoding>(bytes: Buffer, encoding: E): OutputOf<E> {
  return (encoding === 'buffer' ? bytes : bytes.toString(encoding as BufferEncoding)) as OutputOf<E>;
}
