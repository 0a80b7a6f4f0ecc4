import { SmartVMError } from '../../errors.js';
import { type ListedVm, VM_STATUSES } from './list.js';

/** What a filter's key looks at; the value is what stands behind the `=`, or undefined without one. */
export interface FilterKey<Row> {
  readonly matches: (row: Row, value: string) => boolean;
  /** The values it takes, where they are few. */
  readonly values?: readonly string[];
  /** Whether several of this key must all match, and not one of them. */
  readonly all?: boolean;
}

/**
 * A row passes when for each key one of its values matches; of labels, all.
 * @param texts as on the command line: `key=value`
 * @throws SmartVMError INVALID_OPTION
 */
export function parseFilters<Row>(
  texts: readonly string[],
  keys: Readonly<Record<string, FilterKey<Row>>>,
): (row: Row) => boolean {
  const wanted = new Map<FilterKey<Row>, string[]>();
  for (const text of texts) {
    const [, name = '', value = ''] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
    const key = Object.hasOwn(keys, name) ? keys[name] : undefined;
    if (key === undefined) {
      const known = Object.keys(keys).map((one) => `${one}=…`);
      throw new SmartVMError('INVALID_OPTION', `--filter ${JSON.stringify(text)}: there are ${known.join(', ')}`);
    }
    if (key.values && !key.values.includes(value)) {
      throw new SmartVMError(
        'INVALID_OPTION',
        `--filter ${JSON.stringify(text)}: ${name} is one of ${key.values.join(', ')}`,
      );
    }
    wanted.set(key, [...(wanted.get(key) ?? []), value]);
  }
  return (row) =>
    [...wanted].every(([key, values]) =>
      key.all ? values.every((value) => key.matches(row, value)) : values.some((value) => key.matches(row, value)),
    );
}

/** `key` or `key=value`. */
export function hasLabel(labels: Readonly<Record<string, string>> | undefined, wanted: string): boolean {
  const [, name = wanted, value] = /^([^=]*)=(.*)$/s.exec(wanted) ?? [];
  return labels !== undefined && Object.hasOwn(labels, name) && (value === undefined || labels[name] === value);
}

/** Of lists of VMs: an id by its beginning, a name by any part of it. */
export const VM_FILTERS: Readonly<Record<string, FilterKey<ListedVm>>> = {
  id: { matches: ({ id }, value) => id.startsWith(value) },
  name: { matches: ({ record }, value) => record.name?.includes(value) === true },
  label: { matches: ({ record }, value) => hasLabel(record.labels, value), all: true },
  status: { matches: ({ status }, value) => status === value, values: VM_STATUSES },
  image: { matches: ({ record }, value) => record.image === value },
  exited: { matches: ({ status, exit }, value) => status === 'exited' && String(exit?.exitCode) === value },
};

export const FILTER_HELP = Object.keys(VM_FILTERS).join(', ');
