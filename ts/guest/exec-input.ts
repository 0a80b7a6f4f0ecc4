import { Readable, type Writable } from 'node:stream';
import { SmartVMError } from '../errors.js';
import type { ExecInput } from './exec-types.js';

/** A command's standard input on its way. Disposed of, it lets go of the stream that it is from. */
export interface InputOnItsWay extends Disposable {
  /** From now on the command takes it. */
  to(stdin: Writable): void;
}

/** @param fail is told of an input that breaks off, also before the command is there */
export function inputFrom(input: ExecInput | undefined, fail: (error: SmartVMError) => void): InputOnItsWay {
  if (input === undefined || typeof input === 'string' || input instanceof Uint8Array) {
    return { to: (stdin) => void stdin.end(input), [Symbol.dispose]: () => undefined };
  }
  const isOurs = !(input instanceof Readable);
  const source = isOurs ? Readable.from(input) : input;
  const breakOff = (cause?: Error) => {
    const why = cause?.message ?? 'it was closed before its end';
    fail(new SmartVMError('EXEC_FAILED', `the standard input of the command broke off: ${why}`, { cause }));
  };
  const onClose = () => source.readableEnded || source.errored || breakOff();
  source.on('error', breakOff).on('close', onClose);
  if (source.destroyed) {
    source.errored ? breakOff(source.errored) : onClose();
  }
  let target: Writable | undefined;
  return {
    to(stdin) {
      target = stdin;
      source.pipe(stdin);
    },
    [Symbol.dispose]() {
      target && source.unpipe(target);
      source.off('close', onClose);
      isOurs ? source.destroy() : source.off('error', breakOff);
    },
  };
}
