/** As a shell has it of a program that SIGPIPE has ended: its reader has gone. */
const EXIT_BROKEN_PIPE = 141;

/**
 * Writes to standard output, and waits until it has been taken.
 * @returns the exit code: 0, or that of a reader who has gone
 * @throws the system's error, such as that of a full disk
 */
export function print(text: string): Promise<number> {
  process.stdout.off('error', ignore).on('error', ignore); // the callback has it too
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => {
      if (!error) {
        resolve(0);
      } else if ((error as NodeJS.ErrnoException).code === 'EPIPE') {
        resolve(EXIT_BROKEN_PIPE);
      } else {
        reject(error);
      }
    });
  });
}

/** As {@link print}, of lines; of none, nothing. */
export async function printLines(lines: readonly string[]): Promise<number> {
  return lines.length === 0 ? 0 : await print(`${lines.join('\n')}\n`);
}

function ignore(): void {}
