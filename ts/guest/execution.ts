import { PassThrough, type Readable } from 'node:stream';
import { SmartVMError } from '../errors.js';
import { commandVector, runCommand } from './exec.js';
import { assertExecOptions, DEFAULT_MAX_OUTPUT_BYTES } from './exec-options.js';
import { collector, EventQueue, eventSink, type Sink, streamSink } from './exec-sinks.js';
import type { ExecEvent, ExecOptions, ExecResult, OutputEncoding, OutputOf } from './exec-types.js';
import type { Guest } from './types.js';

type StreamName = 'stdout' | 'stderr';

/**
 * A command on its way in a guest. It is awaited for its result; or iterated for its events; or its `stdout` and `stderr` are taken
 * as streams, and then it can be awaited too. What is neither iterated nor taken as a stream is collected; which it is, is said before
 * anything is awaited. A slow reader of events or of a stream holds the process up.
 */
export class Execution<E extends OutputEncoding = 'utf8'>
  implements Promise<ExecResult<OutputOf<E>>>, AsyncIterable<ExecEvent<OutputOf<E>>>
{
  readonly [Symbol.toStringTag] = 'Execution';
  readonly #options: ExecOptions<E>;
  readonly #outcome: Promise<ExecResult<OutputOf<E>>>;
  readonly #abandon = new AbortController();
  readonly #streams = new Map<StreamName, PassThrough>();
  #events: EventQueue<ExecEvent<OutputOf<E>>> | undefined;
  #isDecided = false;

  // biome-ignore lint/suspicious/noThenProperty: it is a promise
  readonly then: Promise<ExecResult<OutputOf<E>>>['then'] = (onFulfilled, onRejected) =>
    this.#outcome.then(onFulfilled, onRejected);
  readonly catch: Promise<ExecResult<OutputOf<E>>>['catch'] = (onRejected) => this.#outcome.catch(onRejected);
  readonly finally: Promise<ExecResult<OutputOf<E>>>['finally'] = (onFinally) => this.#outcome.finally(onFinally);

  /** @param guest what keeps the command from it is the outcome */
  constructor(guest: () => Promise<Guest>, command: string | readonly string[], options: ExecOptions<E> = {}) {
    this.#options = options;
    this.#outcome = this.#run(guest, command);
  }

  /** What the command writes to standard output, in bytes. It fails as the command does. @throws SmartVMError INVALID_STATE when it comes too late */
  get stdout(): Readable {
    return this.#stream('stdout');
  }

  /** As {@link stdout}, of standard error. */
  get stderr(): Readable {
    return this.#stream('stderr');
  }

  /** The events up to the exit. Whoever leaves the loop before that ends the command. @throws as awaiting it does */
  [Symbol.asyncIterator](): AsyncGenerator<ExecEvent<OutputOf<E>>, void, undefined> {
    this.#assertInTime();
    this.#events = new EventQueue();
    return this.#iterate(this.#events);
  }

  async *#iterate(events: EventQueue<ExecEvent<OutputOf<E>>>): AsyncGenerator<ExecEvent<OutputOf<E>>, void, undefined> {
    const end = () => events.end();
    this.#outcome.then(end, end);
    try {
      yield* events.drain();
      const { exitCode, signal } = await this.#outcome;
      yield { kind: 'exit', exitCode, signal };
    } finally {
      this.#outcome.catch(() => undefined); // that nobody wants it any more is no news
      this.#abandon.abort();
    }
  }

  #stream(name: StreamName): Readable {
    const before = this.#streams.get(name);
    if (before) {
      return before;
    }
    this.#assertInTime();
    const stream = new PassThrough();
    stream.on('error', () => undefined); // whoever reads it to its end, or awaits the command, is told
    this.#outcome.catch((error: Error) => stream.destroy(error));
    this.#streams.set(name, stream);
    return stream;
  }

  #assertInTime(): void {
    if (this.#isDecided || this.#events) {
      throw new SmartVMError(
        'INVALID_STATE',
        'the output of a command is iterated once, or taken as streams, before anything is awaited: it is being collected',
      );
    }
  }

  async #run(guest: () => Promise<Guest>, command: string | readonly string[]): Promise<ExecResult<OutputOf<E>>> {
    const options = this.#options;
    assertExecOptions(options);
    const argv = commandVector(command, options.shell);
    await undefined; // now it has been said what becomes of the output
    this.#isDecided = true;
    return await runCommand({
      argv,
      options,
      open: async () => await (await guest()).open(argv, options),
      sinks: { stdout: this.#sink('stdout'), stderr: this.#sink('stderr') },
      abandoned: this.#abandon.signal,
    });
  }

  #sink(name: StreamName): Sink<OutputOf<E>> {
    const { encoding = 'utf8' as E, maxOutputBytes = DEFAULT_MAX_OUTPUT_BYTES } = this.#options;
    const stream = this.#streams.get(name);
    if (stream) {
      return streamSink(stream, encoding);
    }
    return this.#events ? eventSink(name, this.#events, encoding) : collector(maxOutputBytes, encoding);
  }
}
