/** Takes a problem with the field at `path`, in words that follow the path: 'must be …', 'is required'. */
export type Report = (path: string, problem: string) => void;

/** Reports every problem of a value of any type; never throws. */
export type Check = (value: unknown, path: string, report: Report) => void;

export type UnknownRecord = Record<string, unknown>;

export function isRecord(value: unknown): value is UnknownRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The objects of a list with their places in it; what is no object has been reported by its own check. */
export function recordsOf(value: unknown): [index: number, record: UnknownRecord][] {
  const items: [number, unknown][] = Array.isArray(value) ? [...value.entries()] : [];
  return items.filter((entry): entry is [number, UnknownRecord] => isRecord(entry[1]));
}

/** Every problem that `check` finds in a value, the path of the field first. */
export function errorsOf(check: Check, value: unknown, path = ''): string[] {
  const errors: string[] = [];
  check(value, path, (where, problem) => errors.push(`${where} ${problem}`));
  return errors;
}

/** An object with these fields and no others: a misspelt field would else be dropped without a word. */
export function object<T>(
  fields: { readonly [K in keyof Required<T>]: Check },
  required: readonly (keyof T & string)[] = [],
): Check {
  const checks: Readonly<Record<string, Check>> = fields;
  const requiredNames: readonly string[] = required;
  return (value, path, report) => {
    if (!isRecord(value)) {
      report(path || 'config', 'must be an object');
      return;
    }
    for (const [name, check] of Object.entries(checks)) {
      if (value[name] !== undefined) {
        check(value[name], join(path, name), report);
      } else if (requiredNames.includes(name)) {
        report(join(path, name), 'is required');
      }
    }
    for (const name of Object.keys(value)) {
      if (!Object.hasOwn(checks, name)) {
        report(join(path, name), `is not a field; there are ${Object.keys(checks).join(', ')}`);
      }
    }
  };
}

function join(path: string, name: string): string {
  const safe = /^[\w$]{1,64}$/.test(name) ? name : JSON.stringify(name.slice(0, 64));
  return path === '' ? safe : `${path}.${safe}`;
}

export function list(item: Check, minLength = 0): Check {
  return (value, path, report) => {
    if (!Array.isArray(value)) {
      report(path, 'must be an array');
      return;
    }
    if (value.length < minLength) {
      report(path, `must have at least ${minLength} element${minLength === 1 ? '' : 's'}`);
    }
    for (const [index, element] of value.entries()) {
      item(element, `${path}[${index}]`, report);
    }
  };
}

/** An integer; both bounds belong to the range. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): Check {
  return (value, path, report) => {
    if (!Number.isInteger(value)) {
      report(path, 'must be an integer');
    } else if (Number(value) < min) {
      report(path, `must be >= ${min}`);
    } else if (Number(value) > max) {
      report(path, `must be <= ${max}`);
    }
  };
}

export const flag: Check = (value, path, report) => {
  if (typeof value !== 'boolean') {
    report(path, 'must be true or false');
  }
};

export function oneOf<const T extends string>(...values: readonly T[]): Check {
  return (value, path, report) => {
    if (!values.some((allowed) => allowed === value)) {
      report(path, `must be one of ${values.join(', ')}`);
    }
  };
}

/** A string that can be passed to the kernel: without NUL, and not longer than its buffer. */
export function text({ minBytes = 1, maxBytes }: { minBytes?: number; maxBytes: number }): Check {
  return (value, path, report) => {
    if (typeof value !== 'string') {
      report(path, 'must be a string');
      return;
    }
    const bytes = Buffer.byteLength(value);
    if (bytes < minBytes) {
      report(path, 'must not be empty');
    }
    if (bytes > maxBytes) {
      report(path, `must be at most ${maxBytes} bytes, is ${bytes}`);
    }
    if (value.includes('\0')) {
      report(path, 'must not contain a NUL character');
    }
  };
}

/** A string for which `accepts` holds; `rule` says what that is. */
export function rule(accepts: (value: string) => boolean, words: string): Check {
  return (value, path, report) => {
    if (typeof value !== 'string' || !accepts(value)) {
      report(path, words);
    }
  };
}

/** A path on the host: PATH_MAX is 4096 with the NUL. */
export const hostPath = text({ maxBytes: 4095 });

/** Reports each object of a list whose `field` an earlier one has too; `normalize` gives spellings of one thing one form. */
export function reportDuplicates(
  value: unknown,
  path: string,
  field: string,
  report: Report,
  normalize: (value: string) => string = (value) => value,
): void {
  const seen = new Map<string, number>();
  for (const [index, record] of recordsOf(value)) {
    const raw = record[field];
    if (typeof raw !== 'string') {
      continue;
    }
    const key = normalize(raw);
    const first = seen.get(key);
    if (first === undefined) {
      seen.set(key, index);
    } else {
      report(`${path}[${index}].${field}`, `must be unique, is the same as ${path}[${first}].${field}`);
    }
  }
}
