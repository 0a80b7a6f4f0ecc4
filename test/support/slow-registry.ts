import { request } from 'node:http';
import { artifactServer } from './artifact-server.js';
import type { Registry } from './registry.js';

export interface SlowRegistry extends AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly host: string;
  /** Whether large blobs stop in their middle. Set to false, those that have stopped go on. */
  stuck: boolean;
  /** How many are stopped. */
  readonly stopped: number;
}

const LARGE_BYTES = 1 << 20;

/** A registry whose large blobs can be stopped in their middle. */
export async function slowRegistry(registry: Registry): Promise<SlowRegistry> {
  const waiting = new Set<() => void>();
  let stuck = false;
  const server = await artifactServer((incoming, response) => {
    const { method, url, headers } = incoming;
    const onward = request(`http://${registry.host}${url}`, { method, headers }, async (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      let sent = 0;
      for await (const piece of answer as AsyncIterable<Buffer>) {
        response.write(piece);
        sent += piece.length;
        if (stuck && sent >= LARGE_BYTES) {
          await new Promise<void>((resolve) => {
            waiting.add(resolve);
            response.once('close', resolve).once('close', () => waiting.delete(resolve));
          });
        }
      }
      response.end();
    });
    onward.on('error', () => response.destroy());
    incoming.pipe(onward);
  });
  return {
    host: `127.0.0.1:${server.port}`,
    get stuck() {
      return stuck;
    },
    set stuck(value) {
      stuck = value;
      for (const goOn of stuck ? [] : waiting) {
        waiting.delete(goOn);
        goOn();
      }
    },
    get stopped() {
      return waiting.size;
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
