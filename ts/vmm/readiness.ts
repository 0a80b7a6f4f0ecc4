import { existsSync } from 'node:fs';
import type { FirecrackerApi } from '../firecracker/api.js';
import type { WireAnswer } from '../firecracker/wire.js';
import { delay } from '../util/deadline.js';

export type InstanceInfo = WireAnswer<'InstanceInfo'>;

const POLL_MS = 1;
/** Of the time that it has taken: on a busy host, those who ask all the time hold up what they wait for. */
const POLL_SHARE = 0.05;

/**
 * Asks a VMM for what it is until it answers. The asking may begin before the VMM is spawned: the news of the spawn comes by
 * way of its keeper, and later than the API.
 */
export class Readiness {
  /** Undefined when the asking was ended first; never rejects. */
  readonly info: Promise<InstanceInfo | undefined>;
  readonly #api: FirecrackerApi;
  readonly #end = new AbortController();

  constructor(api: FirecrackerApi) {
    this.#api = api;
    this.info = this.#askUntilAnswered();
  }

  end(): void {
    this.#end.abort();
  }

  async #askUntilAnswered(): Promise<InstanceInfo | undefined> {
    const { signal } = this.#end;
    const begin = performance.now();
    while (!signal.aborted) {
      const info = existsSync(this.#api.client.socketPath) ? await this.#ask() : undefined;
      if (info) {
        return info;
      }
      await delay(Math.max(POLL_MS, (performance.now() - begin) * POLL_SHARE), signal);
    }
    return undefined;
  }

  async #ask(): Promise<InstanceInfo | undefined> {
    try {
      // Whoever waits for it has the deadline.
      return await this.#api.describeInstance({ signal: this.#end.signal, timeoutMs: 0 });
    } catch {
      return undefined; // not there yet, or broken
    }
  }
}
