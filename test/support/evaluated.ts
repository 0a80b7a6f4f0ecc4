import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';

/** A program of this TypeScript code, once it has said something. It is the caller's to end. */
export async function evaluated(code: string): Promise<ChildProcess> {
  const program = spawn(process.execPath, ['--import', 'tsx', '--eval', code], {
    cwd: PACKAGE_ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(program.stdout, 'data');
  return program;
}

/** Kills it, whatever it does. */
export async function killed(program: ChildProcess): Promise<void> {
  const ended = once(program, 'exit');
  program.kill('SIGKILL');
  await ended;
}
