import { parseFormat, renderRows } from './format.js';
import { print, printLines } from './output.js';
import { Screen } from './screen.js';
import { STATS_COLUMNS, type StatsRow } from './stats-row.js';
import { styleOf } from './style.js';

/**
 * Prints one sample after the other: on a terminal a table in the place of the one before; elsewhere, and in other formats, lines.
 * @throws SmartVMError INVALID_OPTION
 */
export function statsPrinter(
  format: string | undefined,
  stream: boolean,
): (rows: readonly StatsRow[]) => Promise<unknown> {
  const style = styleOf(process.stdout);
  const parsed = parseFormat(format);
  const isTable = parsed.kind === 'table' || parsed.kind === 'template-table';
  const screen = isTable && stream && style.isTerminal ? new Screen(() => process.stdout.rows ?? 24) : undefined;
  let isFirst = true;
  return async (rows) => {
    const lines = renderRows(parsed, STATS_COLUMNS, rows, style);
    const hasTitles = isTable && !isFirst; // once is enough in a pipe
    isFirst = false;
    return screen ? await print(screen.draw(lines)) : await printLines(hasTitles ? lines.slice(1) : lines);
  };
}
