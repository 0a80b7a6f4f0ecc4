import { createInterface } from 'node:readline/promises';
import { defaultRuntimeDir } from '../../config/directories.js';
import { SmartVMError } from '../../errors.js';
import { type PruneReport, prune } from '../../vmm/registry/prune.js';
import { watchInterrupts } from '../interrupt.js';
import { printableJson } from '../printable.js';
import { reportError, reportNotice } from '../report.js';
import { EXIT_SOME_FAILED } from '../vms/each.js';
import { printLines } from '../vms/output.js';
import { type Style, styleOf } from '../vms/style.js';
import { type Column, renderTable } from '../vms/table.js';
import { timeOf } from '../vms/time.js';

export interface PruneCommandOptions {
  dryRun?: boolean;
  force?: boolean;
  filter?: readonly string[];
  format: 'table' | 'json';
}

interface Row {
  readonly vm: string;
  /** Of an exited VM's directory: that it is one's. */
  readonly kind: string;
  readonly name: string;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'VM', text: ({ vm }) => vm },
  { title: 'KIND', text: ({ kind }) => kind },
  { title: 'NAME', text: ({ name }) => name },
];

/** Removes what dead VMs have left, or says what that is, and gives the exit code. What is begun is brought to its end. */
export async function pruneCommand(options: PruneCommandOptions): Promise<number> {
  const { dryRun = false, force = false, filter = [], format } = options;
  const exitedBefore = limitOf(filter);
  const runtimeRoot = defaultRuntimeDir();
  const style = styleOf(process.stdout);
  if (!dryRun && !force && process.stdin.isTTY && process.stdout.isTTY) {
    const plan = await prune(runtimeRoot, { dryRun: true, exitedBefore });
    if (rowsOf(plan).length > 0 && !(await confirmed(plan, style))) {
      return 0;
    }
  }
  using interrupt = watchInterrupts();
  const report = await prune(runtimeRoot, { dryRun, exitedBefore });
  const exitCode = await tell(report, { dryRun, format, style });
  return interrupt.exitCode ?? exitCode;
}

/** @throws SmartVMError INVALID_OPTION */
function limitOf(filters: readonly string[]): Date | undefined {
  const [only, ...others] = filters.map((text) => /^until=(.+)$/s.exec(text)?.[1]);
  if (filters.length === 0) {
    return undefined;
  }
  if (only === undefined || others.length > 0) {
    throw new SmartVMError('INVALID_OPTION', `--filter ${JSON.stringify(filters.at(-1))}: there is until=…, once`);
  }
  return new Date(timeOf('--filter until', only, Date.now()));
}

async function confirmed(plan: PruneReport, style: Style): Promise<boolean> {
  await printLines([...renderTable(COLUMNS, rowsOf(plan), style), '']);
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const closed = new Promise<string>((resolve) => {
    terminal.once('SIGINT', () => terminal.close()).once('close', () => resolve(''));
  });
  const answer = await Promise.race([terminal.question('Remove all this? [y/N] '), closed]);
  terminal.close();
  return /^y(es)?$/i.test(answer.trim());
}

async function tell(
  report: PruneReport,
  { dryRun, format, style }: { dryRun: boolean; format: PruneCommandOptions['format']; style: Style },
): Promise<number> {
  const failed = report.vms.filter(({ error }) => error);
  for (const { path, message } of report.unreadable) {
    reportNotice(`${path} is left alone: ${message}`);
  }
  for (const { error } of failed) {
    reportError(error);
  }
  const printed = await printLines(format === 'json' ? [jsonOf(report, dryRun)] : linesOf(report, style));
  return printed || (failed.length > 0 ? EXIT_SOME_FAILED : 0);
}

/** Of nothing, a terminal is told so and a pipe nothing. */
function linesOf(report: PruneReport, style: Style): string[] {
  const rows = rowsOf(report);
  if (rows.length > 0) {
    return renderTable(COLUMNS, rows, style);
  }
  return style.isTerminal ? ['Dead VMs have left nothing.'] : [];
}

function rowsOf({ vms, others }: PruneReport): Row[] {
  return [
    ...vms.flatMap(({ id, exited, things }) =>
      things.map(({ kind, name }) => ({ vm: id, kind: exited && kind === 'directory' ? 'exited VM' : kind, name })),
    ),
    ...others.map((thing) => ({ vm: '', ...thing })),
  ];
}

function jsonOf({ vms, others, unreadable }: PruneReport, dryRun: boolean): string {
  const told = vms.map(({ error, ...vm }) =>
    error ? { ...vm, error: { code: error.code, message: error.message } } : vm,
  );
  return printableJson({ dryRun, vms: told, others, unreadable }, 2);
}
