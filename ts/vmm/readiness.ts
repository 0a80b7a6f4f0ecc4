import { existsSync } from 'node:fs';
import type { FirecrackerApi } from '../firecracker/api.js';
import { delay } from '../util/deadline.js';

const POLL_MS = 1;

/**
 * Asks a VMM for its version until it answers. The asking may begin before the VMM is spawned: the news of the spawn comes by
 * way of its keeper, and later than the API.
 */
export class Readiness {
  /** Undefined when the asking was ended first; never rejects. */
  readonly version: Promise<string | undefined>;
  readonly #api: FirecrackerApi;
  readonly #end = new AbortController();

  constructor(api: FirecrackerApi) {
    this.#api = api;
    this.version = this.#askUntilAnswered();
  }

  end(): void {
    this.#end.abort();
  }

  async #askUntilAnswered(): Promise<string | undefined> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      const version = existsSync(this.#api.client.socketPath) ? await this.#ask() : undefined;
      if (version !== undefined) {
        return version;
      }
      await delay(POLL_MS, signal);
    }
    return undefined;
  }

  async #ask(): Promise<string | undefined> {
    try {
      // Whoever waits for it has the deadline.
      const { vmm_version } = await this.#api.describeInstance({ signal: this.#end.signal, timeoutMs: 0 });
      return vmm_version ?? 'unknown';
    } catch {
      return undefined; // not there yet, or broken
    }
  }
}
