import type { Area, Finding, Verdict } from '../doctor/finding.js';
import { printable, printableJson } from './printable.js';
import { paint, SGR, type Style } from './vms/style.js';

/** Lines are broken to the width. */
export type TableStyle = Pick<Style, 'columns' | 'colors'>;

const AREAS: Readonly<Record<Area, string>> = {
  host: 'Host',
  tools: 'Programs',
  directories: 'Directories',
  production: 'Production hosts',
  vms: 'VMs',
};

/** A mark, and its colour. */
const MARKS: Readonly<Record<Verdict, readonly [mark: string, color: number]>> = {
  ok: ['✓', SGR.green],
  info: ['·', SGR.cyan],
  warn: ['!', SGR.yellow],
  fail: ['✗', SGR.red],
};

const NARROW = 64;
const FEWEST_COLUMNS = 24;
const NAMED_VMS = 3;

export function countsOf(findings: readonly Finding[]): Record<Verdict, number> {
  const counts = { ok: 0, info: 0, warn: 0, fail: 0 };
  for (const { verdict } of findings) {
    counts[verdict]++;
  }
  return counts;
}

/** One document. */
export function renderJson(findings: readonly Finding[], healthy: boolean): string {
  return printableJson({ healthy, counts: countsOf(findings), findings }, 2);
}

/** A row for each finding, by area; what is said of several VMs alike is one row. */
export function renderTable(findings: readonly Finding[], healthy: boolean, style: TableStyle): string {
  const rows = rowsOf(findings);
  const titleWidth = Math.max(...rows.map(({ title }) => title.length));
  const areas = (Object.keys(AREAS) as Area[]).map((area) => {
    const own = rows.filter((row) => row.area === area).flatMap((row) => renderRow(row, titleWidth, style));
    return own.length === 0 ? '' : `${paint(style, SGR.bold, AREAS[area])}\n${own.join('\n')}\n\n`;
  });
  return areas.join('') + wrap(summary(findings, healthy), Math.max(style.columns, FEWEST_COLUMNS)).join('\n');
}

function rowsOf(findings: readonly Finding[]): Finding[] {
  const groups = new Map<string, Finding[]>();
  for (const finding of findings) {
    const key = finding.vm === undefined ? finding : { ...finding, vm: '' };
    groups.set(JSON.stringify(key), [...(groups.get(JSON.stringify(key)) ?? []), finding]);
  }
  return [...groups.values()].map((group) => {
    const [first] = group as [Finding, ...Finding[]];
    const vms = group.flatMap(({ vm }) => vm ?? []);
    return vms.length === 0 ? first : { ...first, detail: `${vmNames(vms)}: ${first.detail}` };
  });
}

function vmNames(ids: readonly string[]): string {
  const rest = ids.length - NAMED_VMS;
  return rest > 1 ? `${ids.slice(0, NAMED_VMS).join(', ')} and ${rest} more` : ids.join(', ');
}

function renderRow({ title, verdict, detail, remedy }: Finding, titleWidth: number, style: TableStyle): string[] {
  const isNarrow = style.columns < NARROW;
  const indent = isNarrow ? 4 : titleWidth + 6;
  const width = Math.max(style.columns - indent, FEWEST_COLUMNS);
  const [mark, color] = MARKS[verdict];
  const [first = '', ...more] = wrap(printable(detail), width);
  const name = isNarrow ? title : title.padEnd(titleWidth);
  const head = `  ${paint(style, color, mark)} ${name}`;
  const pad = ' '.repeat(indent);
  const remedies = remedy === undefined ? [] : wrap(printable(remedy), width - 2);
  return [
    ...(isNarrow ? [head, pad + first] : [`${head}  ${first}`]),
    ...more.map((line) => pad + line),
    ...remedies.map((line, index) => `${pad}${paint(style, SGR.dim, `${index === 0 ? '→' : ' '} ${line}`)}`),
  ];
}

function summary(findings: readonly Finding[], healthy: boolean): string {
  const { ok, info, warn, fail } = countsOf(findings);
  const counts = `${ok} ok, ${info} to know, ${warn} ${warn === 1 ? 'warning' : 'warnings'}, ${fail} failed`;
  if (healthy) {
    return `${counts}: SmartVM works here.${warn > 0 ? ' Mind the warnings before you run what others give you.' : ''}`;
  }
  return `${counts}.${fail === 0 ? ' On a production host, warnings are failures.' : ''}`;
}

/** Lines of whole words; a word that is longer than a line is broken. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (let word of text.split(/\s+/)) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = '';
    }
    for (; word.length > width; word = word.slice(width)) {
      lines.push(word.slice(0, width));
    }
    line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
