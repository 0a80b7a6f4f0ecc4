import { printable } from './printable.js';

/** The codes of SmartVM's own warnings start so. */
const OWN = 'SMARTVM_';

/** Prints SmartVM's warnings in a line as its errors are, in place of Node's form of them, until it is disposed. */
export function printWarnings(): Disposable {
  const others = process.listeners('warning');
  const print = (warning: Error & { code?: string }) => {
    if (warning.code?.startsWith(OWN)) {
      console.error(printable(`smartvm: warning: ${warning.message} [${warning.code}]`));
      return;
    }
    for (const listener of others) {
      listener.call(process, warning);
    }
  };
  process.removeAllListeners('warning').on('warning', print);
  return {
    [Symbol.dispose]: () => {
      process.off('warning', print);
      for (const listener of others) {
        process.on('warning', listener);
      }
    },
  };
}
