import { printableJson, printableLine } from '../printable.js';
import { type FilterKey, hasLabel } from './filter.js';
import { parseFormat, renderRows } from './format.js';
import { paint, SGR, type Style, styleOf } from './style.js';
import { VM_EVENTS, type VmEvent } from './vm-events.js';

export const eventFilters: Readonly<Record<string, FilterKey<VmEvent>>> = {
  vm: { matches: ({ id, name }, value) => id === value || name === value },
  event: { matches: ({ event }, value) => event === value, values: VM_EVENTS },
  label: { matches: ({ labels }, value) => hasLabel(labels, value), all: true },
  image: { matches: ({ image }, value) => image === value },
};

const COLORS: Readonly<Record<string, number>> = {
  ...{ create: SGR.cyan, start: SGR.green, resume: SGR.green, pause: SGR.yellow, deadline: SGR.yellow },
  ...{ stop: SGR.yellow, die: SGR.red, remove: SGR.dim },
};

/** Each event as a line. @throws SmartVMError INVALID_OPTION */
export function eventRenderer(format: string | undefined): (event: VmEvent) => string {
  const style = styleOf(process.stdout);
  const parsed = parseFormat(format);
  if (parsed.kind === 'json') {
    return (event) => printableJson(event);
  }
  return parsed.kind === 'table'
    ? (event) => eventLine(event, style)
    : (event) => renderRows(parsed, [], [event], style).at(-1) ?? '';
}

/** As Docker has it: time, event, id, and in parentheses the rest that there is. */
export function eventLine({ time, event, id, labels, ...rest }: VmEvent, style: Style): string {
  const facts = Object.entries({ ...rest, ...labels }).filter(([, value]) => value !== null);
  const shown = facts.map(([key, value]) => printableLine(`${key}=${value}`)).join(', ');
  return `${time} ${paint(style, COLORS[event] ?? SGR.bold, event)} ${id}${shown === '' ? '' : ` (${shown})`}`;
}
