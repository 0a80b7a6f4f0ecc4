import { LOG_LEVELS, type Logger as LoggerConfig, type LogLevel } from '../api/device-bodies.js';
import { Fault, osErrorText } from '../fault.js';
import { openNonblocking } from '../resources/serial.js';
import { LineSink } from './line-sink.js';

/** Where a line of the log comes from: the thread and the module that say it in Firecracker, so that its filters work. */
interface LogSource {
  readonly thread: 'fc_api' | 'main';
  readonly module: string;
  readonly origin: string;
}

export const API_SOURCE: LogSource = {
  thread: 'fc_api',
  module: 'firecracker::api_server::parsed_request',
  origin: 'ts/qemu/api-server.ts:1',
};

export const VMM_SOURCE: LogSource = {
  thread: 'main',
  module: 'vmm::rpc_interface',
  origin: 'ts/qemu/controller/vmm.ts:1',
};

type WrittenLevel = Exclude<LogLevel, 'OFF'>;

/**
 * The log, in Firecracker's format: `2026-01-31T12:00:00.123456789 [id:thread:LEVEL:file:line] message`. Without a target there is none:
 * standard output belongs to the guest's console.
 */
export class Logger {
  readonly #id: string;
  readonly #onLost: () => void;
  #sink: LineSink | undefined;
  #level: LogLevel = 'INFO';
  #showLevel = false;
  #showOrigin = false;
  #module = '';

  /** @param onLost told of each line that its target did not take */
  constructor(id: string, onLost: () => void) {
    this.#id = id;
    this.#onLost = onLost;
  }

  /** Takes up a configuration. What it leaves out stays, the level apart: that goes back to Info. @throws Fault */
  async configure(config: LoggerConfig): Promise<void> {
    if (config.log_path !== null) {
      const file = await openNonblocking(config.log_path).catch((cause) => {
        throw new Fault(`Logger error: Failed to open target file: ${osErrorText(cause)}`);
      });
      this.#sink = new LineSink(file);
    }
    this.#level = config.level ?? 'INFO';
    this.#showLevel = config.show_level ?? this.#showLevel;
    this.#showOrigin = config.show_log_origin ?? this.#showOrigin;
    this.#module = config.module ?? this.#module;
  }

  write(level: WrittenLevel, source: LogSource, message: string): void {
    if (!this.#sink || LOG_LEVELS.indexOf(level) > LOG_LEVELS.indexOf(this.#level)) {
      return;
    }
    if (!source.module.startsWith(this.#module)) {
      return;
    }
    const shown = [this.#id, source.thread, this.#showLevel ? level : '', this.#showOrigin ? source.origin : ''];
    const line = `${localTime(new Date())} [${shown.filter((part) => part !== '').join(':')}] ${message}\n`;
    if (!this.#sink.write(line)) {
      this.#onLost();
    }
  }
}

/** Local time to nine decimals, of which a Date knows three. */
function localTime(date: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day}T${time}.${String(date.getMilliseconds()).padStart(3, '0')}000000`;
}
