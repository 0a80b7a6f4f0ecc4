import { assertOptions } from '../config/validation/assert-options.js';
import { integer, object, text } from '../config/validation/checks.js';
import type { SpawnProcessOptions, TerminalSize } from './types.js';

export interface OpenPtyOptions extends Omit<SpawnProcessOptions, 'stdin'>, Partial<TerminalSize> {
  /** An argument vector. Default: the user's login shell. */
  command?: readonly string[] | undefined;
  /** The kind of terminal, as `TERM` has it. Default `xterm-256color`. */
  term?: string | undefined;
}

const MAX_CELLS = 65_535;
const DEFAULT_SIZE: TerminalSize = { cols: 80, rows: 24 };
const DEFAULT_TERM = 'xterm-256color';

const size = object<TerminalSize>({ cols: integer(1, MAX_CELLS), rows: integer(1, MAX_CELLS) }, ['cols', 'rows']);
const term = text({ maxBytes: 128 });

/** @throws SmartVMError INVALID_OPTION */
export function assertTerminalSize(given: TerminalSize): void {
  assertOptions(size, given, 'size');
}

/** The terminal that is asked for. @throws SmartVMError INVALID_OPTION */
export function terminalOf(options: OpenPtyOptions): TerminalSize & { term: string } {
  const { cols = DEFAULT_SIZE.cols, rows = DEFAULT_SIZE.rows } = options;
  assertTerminalSize({ cols, rows });
  assertOptions(term, options.term ?? DEFAULT_TERM, 'term');
  return { cols, rows, term: options.term ?? DEFAULT_TERM };
}
