import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { delimiter, join } from 'node:path';
import { Interrupted, interruption } from './interrupt.mjs';

const KILL_AFTER_MS = 2000;

/** A failure of a tool, with what the tool said, in words for the person at the terminal. */
export class Failure extends Error {}

// A Debian user's PATH has no folder for administration, where mke2fs and depmod are.
export const PATH = [process.env.PATH ?? '', '/usr/local/sbin', '/usr/sbin', '/sbin'].join(delimiter);

/** The full path of a program, or undefined. */
export function which(program) {
  return PATH.split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/**
 * Runs a program to its end and gives `{ code, stdout, output }`. By default its output is kept back, and is part of the
 * error if it fails. It has a process group of its own, so that a Ctrl-C ends all it started and only that.
 * @param options.show pass its output on to stderr as it comes
 * @param options.stdout pass only its standard output back, and its standard error on
 * @param options.check fail on an exit code other than 0; true by default
 * @param options.finish let an interruption wait until it has ended
 */
export async function run(program, args, options = {}) {
  interruption.throwIfAborted();
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { ...process.env, PATH, ...options.env },
    stdio: ['ignore', options.show ? 2 : 'pipe', options.show || options.stdout ? 2 : 'pipe'],
    detached: true,
  });
  const stdout = [];
  const output = [];
  child.stdout?.on('data', (chunk) => {
    stdout.push(chunk);
    output.push(chunk);
  });
  child.stderr?.on('data', (chunk) => output.push(chunk));
  const code = await ended(child, program, options.finish === true);
  interruption.throwIfAborted();
  if (code !== 0 && options.check !== false) {
    const said = Buffer.concat(output).toString().trim();
    throw new Failure(`${program} ${args.join(' ')} exited with ${code}${said ? `:\n${said}` : ''}`);
  }
  return { code, stdout: Buffer.concat(stdout).toString(), output: Buffer.concat(output).toString() };
}

/** Runs a program in this terminal's foreground and gives its exit code. Signals are its own to answer. */
export async function runForeground(program, args, env = {}) {
  interruption.throwIfAborted();
  const child = spawn(program, args, { env: { ...process.env, PATH, ...env }, stdio: 'inherit' });
  interruption.addEventListener('abort', () => child.kill(signalOf(interruption.reason)), { once: true });
  return await exitOf(child, program);
}

async function ended(child, program, finish) {
  if (finish) {
    return await exitOf(child, program);
  }
  let late;
  const stop = () => {
    killGroup(child, 'SIGTERM');
    late = setTimeout(() => killGroup(child, 'SIGKILL'), KILL_AFTER_MS);
  };
  interruption.addEventListener('abort', stop, { once: true });
  try {
    return await exitOf(child, program);
  } finally {
    clearTimeout(late);
    interruption.removeEventListener('abort', stop);
  }
}

function exitOf(child, program) {
  return new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new Failure(`${program} could not be started: ${error.message}`)));
    child.once('close', (code, signal) => resolve(code ?? 128 + osConstants.signals[signal]));
  });
}

function killGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has just ended.
  }
}

function signalOf(reason) {
  return reason instanceof Interrupted ? reason.signal : 'SIGTERM';
}
