import type { GuestProcess } from '../guest/types.js';

/** Joins the streams of a process in a guest to this program's until it is disposed; what is not read holds the process up. */
export function joinStreams(child: GuestProcess, { interactive }: { interactive?: boolean | undefined }): Disposable {
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
