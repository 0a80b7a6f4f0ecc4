import { join } from 'node:path';
import { writeFileAtomic } from '../util/atomic-file.js';
import { type StepMessage, traced } from '../util/traced.js';
import type { BootContext } from './boot-context.js';
import { BOOT_STEP } from './channels.js';

/** When a step ran, in milliseconds since the start of the boot. */
export interface StepTiming {
  readonly step: string;
  readonly startMs: number;
  readonly durationMs: number;
}

/** What `timings.json` in a VM's directory has. */
export interface KeptTimings {
  /** ISO 8601. */
  readonly startedAt: string;
  /** Steps that have ended. */
  readonly steps: readonly StepTiming[];
  /** Those that are under way. */
  readonly running: readonly Pick<StepTiming, 'step' | 'startMs'>[];
}

/** A start in which nothing has begun or ended for so long shows how far it has come. */
const SHOWN_AFTER_MS = 250;

/**
 * When the steps of a start ran. They are also kept in the VM's directory, for those who want to know later, or from elsewhere what
 * it waits for; never while the start has something to do.
 */
export class StepLog {
  readonly #context: Pick<BootContext, 'id' | 'runtimeDir' | 'record'>;
  readonly #timings: StepTiming[];
  readonly #begin = performance.now();
  readonly #startedAt = new Date();
  readonly #running = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #kept: Promise<unknown> = Promise.resolve();

  constructor(context: Pick<BootContext, 'id' | 'runtimeDir' | 'record'>, timings: StepTiming[]) {
    this.#context = context;
    this.#timings = timings;
  }

  async run(step: string, work: () => Promise<void>): Promise<void> {
    const startMs = performance.now() - this.#begin;
    this.#running.set(step, startMs);
    this.#timer = this.#timer?.refresh() ?? setTimeout(() => this.#keep(), SHOWN_AFTER_MS).unref();
    try {
      const message: StepMessage = { id: this.#context.id, step, startMs };
      await traced(BOOT_STEP, message, work);
    } finally {
      this.#running.delete(step);
      this.#timings.push({ step, startMs, durationMs: performance.now() - this.#begin - startMs });
    }
  }

  /** The start is through. */
  end(): void {
    clearTimeout(this.#timer);
    setImmediate(() => this.#keep());
  }

  /** The start has failed: what there is of it is about to go. */
  abandon(): void {
    clearTimeout(this.#timer);
  }

  #keep(): void {
    if (!this.#context.record) {
      return; // there is no directory, or it is another's
    }
    const kept: KeptTimings = {
      startedAt: this.#startedAt.toISOString(),
      steps: this.#timings,
      running: [...this.#running].map(([step, startMs]) => ({ step, startMs })),
    };
    const text = `${JSON.stringify(kept, undefined, 2)}\n`;
    const write = () => writeFileAtomic(join(this.#context.runtimeDir, 'timings.json'), text);
    // One after the other, for the last is to stay. The VM may have ended meanwhile, and no VM fails for want of this.
    this.#kept = this.#kept.then(write).catch(() => undefined);
  }
}
