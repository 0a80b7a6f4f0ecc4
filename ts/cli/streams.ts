import type { GuestCommand } from '../guest/types.js';

/** Joins the streams of a process in a guest to this program's until it is disposed; what is not read holds the process up. */
export function joinStreams(child: GuestCommand, { interactive }: { interactive?: boolean | undefined }): Disposable {
  child.stdin.on('error', () => undefined); // a process may end before it has read all
  child.stdout.pipe(process.stdout, { end: false });
  child.stderr.pipe(process.stderr, { end: false });
  if (interactive) {
    process.stdin.pipe(child.stdin);
  } else {
    child.stdin.end();
  }
  return {
    [Symbol.dispose]() {
      if (interactive) {
        process.stdin.unpipe(child.stdin).pause();
      }
    },
  };
}

/** 0 when a signal aborts, for a race with an exit code. */
export function aborted(signal: AbortSignal): Promise<number> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(0), { once: true });
    if (signal.aborted) {
      resolve(0);
    }
  });
}
