import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { defaultRuntimeDir } from '../../config/directories.js';
import { type ListedVm, listVms } from './list.js';
import { printLines } from './output.js';
import { psColumns, psRow } from './ps-row.js';
import { styleOf } from './style.js';
import { renderTable } from './table.js';

export interface PsOptions {
  readonly all?: boolean | undefined;
  readonly quiet?: boolean | undefined;
  readonly filter?: readonly string[] | undefined;
  readonly format?: string | undefined;
  /** False with `--no-trunc`. */
  readonly trunc: boolean;
}

/**
 * As the command does, where the arguments are as they should be: to load all that can say what is wrong with others takes longer than
 * to list a hundred VMs.
 * @returns the exit code; undefined where that is needed
 */
export async function psAtOnce(args: string[]): Promise<number | undefined> {
  const options = optionsOf(args);
  return options && (await ps(options));
}

function optionsOf(args: string[]): PsOptions | undefined {
  try {
    const { values } = parseArgs({
      args,
      options: {
        all: { type: 'boolean', short: 'a' },
        filter: { type: 'string', short: 'f', multiple: true },
        format: { type: 'string' },
        'no-trunc': { type: 'boolean' },
        quiet: { type: 'boolean', short: 'q' },
      },
    });
    return { ...values, trunc: !values['no-trunc'] };
  } catch {
    return undefined;
  }
}

/**
 * Prints the VMs, and loads no more for that than it takes.
 * @returns the exit code
 * @throws SmartVMError INVALID_OPTION
 */
export async function ps({ all, quiet, filter = [], format, trunc }: PsOptions): Promise<number> {
  const passes = await filterOf(filter);
  const render = await rendererOf(format);
  const { vms, unreadable } = listVms();
  // Who asks for a status is to see it.
  const isAsked = all || filter.some((text) => /^(status|exited)=/.test(text));
  const found = (isAsked ? vms : vms.filter(isUp)).filter(passes);
  if (unreadable.length > 0) {
    (await import('./unreadable.js')).warnOfUnreadable(unreadable);
  }
  if (quiet) {
    return await printLines(found.map(({ id }) => id));
  }
  const now = Date.now();
  const ports = await portsOf();
  const rows = found.map((vm) => psRow(vm, now, ports(vm.runtimeDir)));
  return await printLines(render(psColumns(trunc, now), rows, styleOf(process.stdout)));
}

async function filterOf(texts: readonly string[]): Promise<(vm: ListedVm) => boolean> {
  if (texts.length === 0) {
    return () => true;
  }
  const { parseFilters, VM_FILTERS } = await import('./filter.js');
  return parseFilters(texts, VM_FILTERS);
}

async function rendererOf(format: string | undefined): Promise<typeof renderTable> {
  if (format === undefined) {
    return renderTable;
  }
  const { parseFormat, renderRows } = await import('./format.js');
  const parsed = parseFormat(format);
  return (columns, rows, style) => renderRows(parsed, columns, rows, style);
}

/** Published ports in words, by a VM's directory. */
async function portsOf(): Promise<(runtimeDir: string) => string> {
  if (!existsSync(join(defaultRuntimeDir(), '.networks'))) {
    return () => ''; // no VM was ever in a network
  }
  const { attachmentsByVm, portsInWords } = await import('./networks.js');
  const attachments = attachmentsByVm();
  return (runtimeDir) => portsInWords((attachments.get(runtimeDir) ?? []).flatMap(({ ports }) => ports));
}

function isUp({ status }: ListedVm): boolean {
  return status === 'running' || status === 'paused';
}
