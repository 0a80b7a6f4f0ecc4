import { printable } from './printable.js';

/** One line of what happened, with the code to look up; what a guest printed is in it and is escaped. */
export function reportError(error: unknown): void {
  const { code, message } = error as { code?: string; message?: string };
  report(message ?? String(error), code);
}

/** One line of what is worth knowing, and is no failure. */
export function reportNotice(text: string): void {
  report(text, undefined);
}

/** The codes of SmartVM's own warnings start so. */
const OWN = 'SMARTVM_';

/** Prints SmartVM's warnings as its errors are, in place of Node's form of them, until it is disposed. */
export function reportWarnings(): AsyncDisposable {
  const others = process.listeners('warning');
  const print = (warning: Error & { code?: string }) => {
    if (warning.code?.startsWith(OWN)) {
      report(`warning: ${warning.message}`, warning.code);
      return;
    }
    for (const listener of others) {
      listener.call(process, warning);
    }
  };
  process.removeAllListeners('warning').on('warning', print);
  return {
    async [Symbol.asyncDispose]() {
      await new Promise(setImmediate); // Node tells of a warning when what now runs has ended
      process.off('warning', print);
      for (const listener of others) {
        process.on('warning', listener);
      }
    },
  };
}

function report(text: string, code: string | undefined): void {
  // What programs say by an option of the library, the command line says by one of its own.
  const words = text.replaceAll('`jail: false`', '`--no-jail`');
  console.error(printable(`smartvm: ${words}${code ? ` [${code}]` : ''}`));
}
