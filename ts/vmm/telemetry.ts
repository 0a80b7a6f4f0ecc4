import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { IMicroVMConfig } from '../config/types.js';
import { SmartVMError } from '../errors.js';
import { FifoReader } from './fifo.js';
import { followFile } from './follow-file.js';
import { type MetricsSample, parseMetrics } from './metrics.js';

type Source = 'log' | 'metrics';

/** Where the VMM of one VM writes its log and metrics, and the reading of both. */
export class Telemetry {
  readonly #paths: Readonly<Record<Source, string | undefined>>;
  readonly #fifos = new Map<string, FifoReader>();
  #closed = false;

  private constructor(paths: Readonly<Record<Source, string | undefined>>) {
    this.#paths = paths;
  }

  /** That of a VM which another program has started: FIFOs are there, and are read from when somebody asks for them. */
  static of(config: Pick<IMicroVMConfig, 'logger' | 'metrics'>, folder: string, stderrLog: string): Telemetry {
    const log = config.logger && (config.logger.logPath ?? join(folder, 'log.fifo'));
    const metrics = config.metrics && (config.metrics.metricsPath ?? join(folder, 'metrics.fifo'));
    return new Telemetry({ log: log ?? stderrLog, metrics });
  }

  /**
   * Makes a FIFO in the VMM's folder for each of the two that a configuration asks for without naming a file, and reads it from
   * then on. @param stderrLog where the keeper writes what the VMM says without a logger @throws SmartVMError TOOL_MISSING, TOOL_FAILED
   */
  static async open(
    config: Pick<IMicroVMConfig, 'logger' | 'metrics'>,
    folder: string,
    stderrLog: string,
  ): Promise<Telemetry> {
    const telemetry = Telemetry.of(config, folder, stderrLog);
    const own = [
      ...(config.logger && !config.logger.logPath ? [telemetry.logPath] : []),
      ...(config.metrics && !config.metrics.metricsPath ? [telemetry.metricsPath] : []),
    ];
    for (const path of own.filter((path) => path !== undefined)) {
      telemetry.#fifos.set(path, await FifoReader.make(path));
    }
    return telemetry;
  }

  get logPath(): string | undefined {
    return this.#paths.log;
  }

  get metricsPath(): string | undefined {
    return this.#paths.metrics;
  }

  /** Lines of the VMM's log; without a logger, of its standard error. */
  async *logs(signal?: AbortSignal): AsyncGenerator<string, void, undefined> {
    yield* this.#lines('log', signal);
  }

  /** Each flush of the metrics. @throws SmartVMError INVALID_STATE when the configuration has no metrics */
  async *metrics(signal?: AbortSignal): AsyncGenerator<MetricsSample, void, undefined> {
    for await (const line of this.#lines('metrics', signal)) {
      const sample = parseMetrics(line);
      if (sample) {
        yield sample;
      }
    }
  }

  /** Ends all reading: the VMM has ended. */
  close(): void {
    this.#closed = true;
    for (const fifo of this.#fifos.values()) {
      fifo.close();
    }
  }

  async *#lines(source: Source, signal?: AbortSignal): AsyncGenerator<string, void, undefined> {
    const path = this.#paths[source];
    if (path === undefined) {
      throw new SmartVMError(
        'INVALID_STATE',
        "the VM was started without metrics: give its configuration 'metrics: {}'",
      );
    }
    const fifo = this.#fifos.get(path) ?? (await this.#openFifo(path));
    yield* fifo ? fifo.lines.read(signal) : followFile(path, { ended: () => this.#closed, signal });
  }

  /** A FIFO that the caller named is theirs to read until they ask us to. */
  async #openFifo(path: string): Promise<FifoReader | undefined> {
    const isFifo = await stat(path).then(
      (stats) => stats.isFIFO(),
      () => false,
    );
    if (!isFifo || this.#closed) {
      return undefined;
    }
    const fifo = await FifoReader.open(path);
    this.#fifos.set(path, fifo);
    return fifo;
  }
}
