import { SmartVMError } from '../../errors.js';
import { isSafeKey } from '../../util/safe-json.js';

/** A text with places for fields, as Docker's `--format` takes it: the part of Go's templates that such lines need. */
export interface Template {
  readonly parts: readonly (string | Placeholder)[];
}

export interface Placeholder {
  /** Names of fields, from the outermost on; none for the whole. */
  readonly path: readonly string[];
  readonly asJson: boolean;
  /** `.Label "key"`: the value of one. */
  readonly label?: string;
}

const ACTION = /\{\{(.*?)\}\}/gs;
const PATH = String.raw`\.(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)?`;
const FIELD = new RegExp(String.raw`^\s*(json\s+)?(${PATH})\s*$`);
const LABEL = /^\s*\.label\s+"([^"]*)"\s*$/i;
const ESCAPES: Readonly<Record<string, string>> = { '\\t': '\t', '\\n': '\n', '\\\\': '\\' };
const MISSING = '<no value>';

/** @throws SmartVMError INVALID_OPTION */
export function parseTemplate(text: string): Template {
  const parts: (string | Placeholder)[] = [];
  let end = 0;
  for (const match of text.matchAll(ACTION)) {
    parts.push(plain(text.slice(end, match.index)), placeholder(match[1] ?? '', match[0]));
    end = match.index + match[0].length;
  }
  const rest = text.slice(end);
  if (rest.includes('{{')) {
    throw new SmartVMError(
      'INVALID_OPTION',
      `--format: ${JSON.stringify(rest)} opens a placeholder that it never closes`,
    );
  }
  return { parts: [...parts, plain(rest)].filter((part) => part !== '') };
}

function plain(text: string): string {
  return text.replace(/\\[tn\\]/g, (pair) => ESCAPES[pair] ?? pair);
}

function placeholder(action: string, whole: string): Placeholder {
  const label = LABEL.exec(action)?.[1];
  if (label !== undefined) {
    return { path: ['labels'], asJson: false, label };
  }
  const [, json, path] = FIELD.exec(action) ?? [];
  if (path === undefined) {
    const forms = '{{.Name}}, {{.Config.MachineConfig.VcpuCount}}, {{json .}}, {{json .Labels}} and {{.Label "key"}}';
    throw new SmartVMError(
      'INVALID_OPTION',
      `--format: ${JSON.stringify(whole)} is not understood; there are ${forms}`,
    );
  }
  return { path: path.split('.').filter(Boolean), asJson: json !== undefined };
}

/** @throws SmartVMError INVALID_OPTION where the row has no such field */
export function fillTemplate({ parts }: Template, row: object): string {
  return parts.map((part) => (typeof part === 'string' ? part : valueText(part, row))).join('');
}

/** What stands in the place of one placeholder. */
export function valueText({ path, asJson, label }: Placeholder, row: object): string {
  const value = path.reduce<unknown>((at, name, depth) => field(at, name, depth === 0), row);
  if (label !== undefined) {
    const labels = Object(value) as Record<string, string>;
    return Object.hasOwn(labels, label) ? (labels[label] ?? '') : '';
  }
  if (asJson) {
    return JSON.stringify(value) ?? 'null';
  }
  return typeof value === 'string'
    ? value
    : value === undefined
      ? MISSING
      : value === null
        ? ''
        : JSON.stringify(value);
}

/** By its name in whatever case: Docker's begin with capitals, ours do not. */
function field(value: unknown, name: string, isFirst: boolean): unknown {
  const fields = typeof value === 'object' && value !== null ? Object.keys(value).filter(isSafeKey) : [];
  const key = fields.find((one) => one.toLowerCase() === name.toLowerCase());
  if (key === undefined && isFirst) {
    throw new SmartVMError('INVALID_OPTION', `--format: there is no field .${name}; there are ${fields.join(', ')}`);
  }
  return key === undefined ? undefined : (value as Record<string, unknown>)[key];
}
