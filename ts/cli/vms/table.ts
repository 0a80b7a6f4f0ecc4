import { printableLine } from '../printable.js';
import { paint, SGR, type Style } from './style.js';

export interface Column<Row> {
  readonly title: string;
  readonly text: (row: Row) => string;
  /** A code of {@link SGR} where the cell is to have a colour. */
  readonly color?: (row: Row) => number | undefined;
  /** Flush right, as numbers are. */
  readonly right?: boolean;
}

const GAP = '   ';

/** Lines of a table, the titles first, as wide as its texts. What stands in a cell stays in it, whoever wrote it. */
export function renderTable<Row extends object>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  style: Style,
): string[] {
  const rendered = columns.map((column, index) => {
    const texts = [column.title, ...rows.map((row) => printableLine(column.text(row)))];
    const colors = [SGR.bold, ...rows.map((row) => column.color?.(row))];
    const isLast = index === columns.length - 1;
    const width = isLast && !column.right ? 0 : Math.max(...texts.map((text) => text.length));
    return texts.map((text, line) => {
      const color = colors[line];
      const painted = color === undefined || text === '' ? text : paint(style, color, text);
      const fill = ' '.repeat(Math.max(0, width - text.length));
      return column.right ? fill + painted : painted + fill;
    });
  });
  return [undefined, ...rows].map((_row, line) => rendered.map((column) => column[line]).join(GAP));
}
