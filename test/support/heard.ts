import { subscribe, unsubscribe } from 'node:diagnostics_channel';

/** The part of a tracing channel that a message came by. */
const PARTS = ['start', 'asyncEnd', 'error'] as const;

export interface Heard<Message> {
  readonly part: (typeof PARTS)[number] | undefined;
  /** As it was then. */
  readonly message: Message;
}

/** What is published in a channel until this is disposed; of a tracing channel, its beginnings, ends and errors. */
export class Listening<Message extends object> implements Disposable {
  readonly heard: Heard<Message>[] = [];
  readonly #undo: (() => void)[] = [];

  constructor(name: string) {
    for (const part of [...PARTS, undefined]) {
      const channel = part === undefined ? name : `tracing:${name}:${part}`;
      const listener = (message: unknown) => void this.heard.push({ part, message: { ...(message as Message) } });
      subscribe(channel, listener);
      this.#undo.push(() => void unsubscribe(channel, listener));
    }
  }

  /** The messages of one part. */
  of(part: Heard<Message>['part']): Message[] {
    return this.heard.filter((each) => each.part === part).map(({ message }) => message);
  }

  [Symbol.dispose](): void {
    for (const undo of this.#undo) {
      undo();
    }
  }
}
