import { printable, printableJson } from '../printable.js';
import type { Style } from './style.js';
import { type Column, renderTable } from './table.js';
import { fillTemplate, type Placeholder, parseTemplate, type Template, valueText } from './template.js';

/** What `--format` asks for: a table, JSON lines, or lines by a template, with titles above them or without. */
export type RowFormat =
  | { readonly kind: 'table' | 'json' }
  | { readonly kind: 'template' | 'template-table'; readonly template: Template };

export const FORMAT_HELP =
  "'table', 'json', or a template such as '{{.ID}} {{.Status}}' or 'table {{.ID}}\\t{{.Name}}'";

/** @throws SmartVMError INVALID_OPTION */
export function parseFormat(text: string | undefined): RowFormat {
  if (text === undefined || text === 'table' || text === 'json') {
    return { kind: text ?? 'table' };
  }
  const table = /^table\s+/.exec(text);
  return table
    ? { kind: 'template-table', template: parseTemplate(text.slice(table[0].length)) }
    : { kind: 'template', template: parseTemplate(text) };
}

/**
 * The rows in a format, a line each. JSON and templates have the fields of the row itself, the table has its columns.
 * @throws SmartVMError INVALID_OPTION where a template names a field that there is not
 */
export function renderRows<Row extends object>(
  format: RowFormat,
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  style: Style,
): string[] {
  switch (format.kind) {
    case 'table':
      return renderTable(columns, rows, style);
    case 'json':
      return rows.map((row) => printableJson(row));
    case 'template':
      return rows.map((row) => renderOne(format.template, row, style));
    case 'template-table':
      return renderTable(columnsOf(format.template), rows, style);
  }
}

function renderOne(template: Template, row: object, { isTerminal }: Style): string {
  const line = fillTemplate(template, row);
  return isTerminal ? printable(line) : line;
}

/** A tab between two placeholders ends a column. */
function columnsOf<Row extends object>({ parts }: Template): Column<Row>[] {
  const cells: (string | Placeholder)[][] = [[]];
  for (const part of parts) {
    const [first, ...more] = typeof part === 'string' ? part.split('\t') : [part];
    cells.at(-1)?.push(first as string | Placeholder);
    cells.push(...more.map((text) => [text]));
  }
  return cells.map((cell) => ({
    title: textOf(cell, titleOf),
    text: (row) => textOf(cell, (one) => valueText(one, row)),
  }));
}

function textOf(cell: readonly (string | Placeholder)[], value: (placeholder: Placeholder) => string): string {
  return cell.map((part) => (typeof part === 'string' ? part : value(part))).join('');
}

function titleOf({ path, label }: Placeholder): string {
  return (label ?? path.at(-1) ?? '').replace(/(?<=[a-z])(?=[A-Z])/g, ' ').toUpperCase();
}
