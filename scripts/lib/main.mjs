import { Interrupted, watchInterrupts } from './interrupt.mjs';
import { Failure } from './process.mjs';
import { red } from './say.mjs';

/** Runs a script's work, which gives its exit code, and ends with that; a failure is told in its own words. */
export async function main(work) {
  watchInterrupts();
  try {
    process.exitCode = await work();
  } catch (error) {
    if (error instanceof Interrupted) {
      process.exitCode = error.exitCode;
    } else {
      process.stderr.write(`${red('failed:')} ${error instanceof Failure ? error.message : error.stack}\n`);
      process.exitCode = 1;
    }
  }
}
