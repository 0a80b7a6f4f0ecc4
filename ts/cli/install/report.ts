import type { WriteStream } from 'node:tty';
import type { DownloadProgress } from '../../util/download.js';
import { printable } from '../printable.js';
import type { StepListener, StepName, StepReporter, StepResult, StepState } from './step.js';

const REFRESH_MS = 100;
const NAME_WIDTH = 11;
const WORDS: Readonly<Record<StepState, string>> = {
  present: 'ok',
  done: 'done',
  planned: 'plan',
  failed: 'FAIL',
};
const COLORS: Readonly<Record<StepState, number>> = { present: 32, done: 32, planned: 36, failed: 31 };

/** A line for each step, and for each thing that one begins or says. */
export class LineReporter implements StepReporter {
  protected readonly output: NodeJS.WritableStream;

  constructor(output: NodeJS.WritableStream) {
    this.output = output;
  }

  begin(step: StepName, message: string): StepListener {
    const say = (text: string) => this.line(`${step.padEnd(NAME_WIDTH)}  ...   ${text}`);
    say(message);
    return { message: say, progress: () => undefined };
  }

  end({ step, state, message, reason, warnings = [] }: StepResult): void {
    const why = reason ? ` (${reason})` : '';
    this.line(
      `${step.padEnd(NAME_WIDTH)}  ${this.paint(WORDS[state].padEnd(4), COLORS[state])}  ${printable(message)}${why}`,
    );
    for (const warning of warnings) {
      this.line(`${''.padEnd(NAME_WIDTH)}  ${this.paint('warn', 33)}  ${printable(warning)}`);
    }
  }

  line(text: string): void {
    this.output.write(`${text}\n`);
  }

  protected paint(text: string, _color: number): string {
    return text;
  }
}

/** On a terminal what goes on is one line, which is written anew; what came of it stays. */
export class TerminalReporter extends LineReporter {
  readonly #terminal: WriteStream;
  readonly #colors: boolean;
  #timer: NodeJS.Timeout | undefined;

  constructor(terminal: WriteStream) {
    super(terminal);
    this.#terminal = terminal;
    this.#colors = !process.env.NO_COLOR;
  }

  override begin(step: StepName, message: string): StepListener {
    const rate = new Rate();
    let [text, progress]: [string, DownloadProgress | undefined] = [printable(message), undefined];
    const show = () => {
      const width = (this.#terminal.columns || 80) - 1;
      const live = `${step.padEnd(NAME_WIDTH)}  ...   ${statusLine(text, progress, rate, width - NAME_WIDTH - 8)}`;
      this.#terminal.write(`\r\x1b[K${live.slice(0, width)}`);
    };
    this.#timer = setInterval(show, REFRESH_MS);
    show();
    return {
      message: (next) => {
        text = printable(next);
      },
      progress: (next) => {
        progress = next;
        rate.add(next.receivedBytes);
      },
    };
  }

  override end(result: StepResult): void {
    if (this.#timer !== undefined) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      this.#terminal.write('\r\x1b[K');
    }
    super.end(result);
  }

  protected override paint(text: string, color: number): string {
    return this.#colors ? `\x1b[${color}m${text}\x1b[0m` : text;
  }
}

/** Bytes a second since the first byte, and seconds since it was made. */
class Rate {
  readonly #start = performance.now();
  #first: { at: number; bytes: number } | undefined;
  #last = { at: 0, bytes: 0 };

  get seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }

  get bytesPerSecond(): number {
    const elapsed = this.#first === undefined ? 0 : this.#last.at - this.#first.at;
    return elapsed > 0 ? ((this.#last.bytes - (this.#first?.bytes ?? 0)) * 1000) / elapsed : 0;
  }

  add(bytes: number): void {
    if (this.#first === undefined || bytes < this.#last.bytes) {
      this.#first = { at: performance.now(), bytes }; // a further try begins anew
    }
    this.#last = { at: performance.now(), bytes };
  }
}

/** The most important first: how far it is, how fast, and as much of the bar and the text as there is room for. */
export function statusLine(
  text: string,
  progress: DownloadProgress | undefined,
  rate: { readonly seconds: number; readonly bytesPerSecond: number },
  width: number,
): string {
  if (progress === undefined) {
    const seconds = rate.seconds >= 2 ? ` ${Math.floor(rate.seconds)} s` : '';
    return `${text.slice(0, Math.max(0, width - seconds.length))}${seconds}`;
  }
  const { receivedBytes, totalBytes } = progress;
  const amount = `${mebi(receivedBytes)}${totalBytes === undefined ? '' : `/${mebi(totalBytes)}`} MiB`;
  const speed = `${mebi(rate.bytesPerSecond)} MiB/s`;
  const numbers = `${amount}  ${speed}`;
  const room = width - numbers.length - 2;
  if (room < 10 || totalBytes === undefined) {
    return numbers.length <= width ? numbers : amount;
  }
  const cells = Math.min(30, room - 2);
  const full = Math.floor((cells * receivedBytes) / Math.max(1, totalBytes));
  return `[${'#'.repeat(full)}${'.'.repeat(cells - full)}]  ${numbers}`;
}

function mebi(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1);
}
