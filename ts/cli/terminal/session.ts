import { once } from 'node:events';
import type { GuestProcess, TerminalSize } from '../../guest/types.js';
import type { DetachKeys } from './detach-keys.js';
import { TerminalModes } from './modes.js';

/** How a session at a terminal came to its end, other than by the process's. */
export interface TerminalSession extends Disposable {
  /** Settles when the keys for it were typed. */
  readonly detached: Promise<void>;
  /** Settles when all output is written. */
  readonly written: Promise<void>;
}

/** The size of the terminal of standard output; undefined where that is none. */
export function terminalSize(): TerminalSize | undefined {
  const { isTTY, columns, rows } = process.stdout;
  return isTTY && columns > 0 && rows > 0 ? { cols: columns, rows } : undefined;
}

/**
 * Joins this program's terminal to that of a process in a guest. Disposed of, the terminal is as it was before, whatever the guest's
 * program did to it; so it is when this program ends in between.
 * @param hangUp is told when the terminal is gone
 */
export function joinTerminal(
  child: GuestProcess,
  keys: DetachKeys,
  interactive: boolean,
  hangUp: () => void,
): TerminalSession {
  const { stdin, stdout } = process;
  const modes = new TerminalModes();
  const resize = () => {
    const size = terminalSize();
    if (size) {
      child.resize(size);
    }
  };
  let detach: () => void = () => undefined;
  const detached = new Promise<void>((resolve) => {
    detach = resolve;
  });
  const onInput = (chunk: Buffer) => {
    const data = keys.push(chunk);
    if (data === undefined) {
      detach();
    } else if (!child.stdin.write(data)) {
      stdin.pause();
      child.stdin.once('drain', () => stdin.resume());
    }
  };
  let isRestored = false;
  const restore = () => {
    if (isRestored) {
      return;
    }
    isRestored = true;
    if (interactive) {
      stdin.off('data', onInput).off('end', hangUp).pause();
      stdin.isTTY && stdin.setRawMode(false);
    }
    stdout.off('resize', resize);
    process.off('exit', restore);
    stdout.isTTY && stdout.write(modes.restore());
  };
  child.stdin.on('error', () => undefined); // the process has ended, and says so otherwise
  if (interactive) {
    stdin.on('error', hangUp); // for good: of one that is gone, the modes cannot be put back either
    stdin.isTTY && stdin.setRawMode(true);
    stdin.on('data', onInput).once('end', hangUp);
  }
  stdout.on('resize', resize);
  process.on('exit', restore);
  resize();
  return { detached, written: show(child, modes), [Symbol.dispose]: restore };
}

async function show(child: GuestProcess, modes: TerminalModes): Promise<void> {
  try {
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      modes.see(chunk);
      if (!process.stdout.write(chunk) && !process.stdout.destroyed) {
        await Promise.race([once(process.stdout, 'drain'), once(process.stdout, 'close')]);
      }
    }
  } catch {
    // The process's end says why.
  }
}
