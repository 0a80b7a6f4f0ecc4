import type { Duplex } from 'node:stream';

export interface QmpEvent {
  readonly event: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

/** QEMU refused a command, or was gone before it had answered. */
export class QmpError extends Error {
  override readonly name = 'QmpError';

  constructor(
    message: string,
    readonly ended = false,
  ) {
    super(message);
  }
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

interface QmpMessage extends Partial<QmpEvent> {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

/** QEMU's machine protocol. Commands may be sent before QEMU is up: it answers them in order. */
export class Qmp {
  readonly #channel: Duplex;
  readonly #onEvent: (event: QmpEvent) => void;
  readonly #pending: Pending[] = [];
  #line = '';
  #ended = false;

  constructor(channel: Duplex, onEvent: (event: QmpEvent) => void) {
    this.#channel = channel;
    this.#onEvent = onEvent;
    channel.setEncoding('utf8');
    channel.on('data', (text: string) => this.#take(text));
    channel.on('error', () => this.#end());
    channel.once('close', () => this.#end());
  }

  /** @throws QmpError when QEMU refuses, or ends before it has answered */
  execute(command: string, parameters: object = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(new QmpError('QEMU has ended', true));
        return;
      }
      this.#pending.push({ resolve, reject });
      this.#channel.write(`${JSON.stringify({ execute: command, arguments: parameters })}\n`);
    });
  }

  #take(text: string): void {
    const lines = (this.#line + text).split('\n');
    this.#line = lines.pop() ?? '';
    for (const line of lines) {
      this.#dispatch(JSON.parse(line) as QmpMessage);
    }
  }

  #dispatch(message: QmpMessage): void {
    if (message.event !== undefined) {
      this.#onEvent(message as QmpEvent);
    } else if (message.error) {
      this.#pending.shift()?.reject(new QmpError(message.error.desc));
    } else if ('return' in message) {
      this.#pending.shift()?.resolve(message.return);
    }
  }

  #end(): void {
    this.#ended = true;
    for (const pending of this.#pending.splice(0)) {
      pending.reject(new QmpError('QEMU has ended', true));
    }
  }
}
