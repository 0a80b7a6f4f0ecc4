import { JsonError, JsonReader } from './json-reader.js';
import { described, isFloat, listed, readScalar, refuse } from './refusal.js';

/** How one type is read from JSON, in serde's manner: strictly, and refused in serde's words. */
export interface Decoder<T> {
  read(json: JsonReader): T;
  /** What an absent field becomes. A decoder without it makes its field required. */
  readonly absent?: () => T;
  /** The field may also be left out of a struct that is written as an array. */
  readonly hasDefault?: true;
}

export type Decoded<D> = D extends Decoder<infer T> ? T : never;

type Fields = Readonly<Record<string, Decoder<unknown>>>;
type Struct<F extends Fields> = { [K in keyof F]: Decoded<F[K]> };

/** @throws JsonError */
export function decode<T>(decoder: Decoder<T>, body: Buffer): T {
  const json = new JsonReader(body);
  try {
    const value = decoder.read(json);
    json.end();
    return value;
  } catch (error) {
    throw error instanceof JsonError ? json.position(error) : error;
  }
}

export const string: Decoder<string> = {
  read: (json) => (json.peek() === '"' ? json.string() : refuse(json, 'a string')),
};

export const boolean: Decoder<boolean> = {
  read(json) {
    const next = json.peek();
    if (next !== 't' && next !== 'f') {
      return refuse(json, 'a boolean');
    }
    json.keyword(next === 't' ? 'true' : 'false');
    return next === 't';
  },
};

/** An unsigned integer of `bits`, called `name` in refusals. Above 2^53 it is rounded to the nearest double. */
function unsigned(name: string, bits: bigint): Decoder<number> {
  const limit = 1n << bits;
  return {
    read(json) {
      if (!/[-0-9]/.test(json.peek())) {
        return refuse(json, name);
      }
      const text = json.number();
      if (isFloat(text)) {
        throw json.error(`invalid type: ${described(text)}, expected ${name}`);
      }
      const value = BigInt(text);
      if (value < 0n || value >= limit || text.startsWith('-')) {
        throw json.error(`invalid value: ${described(text)}, expected ${name}`);
      }
      return Number(value);
    },
  };
}

export const u8 = unsigned('u8', 8n);
export const u16 = unsigned('u16', 16n);
export const u32 = unsigned('u32', 32n);
export const u64 = unsigned('u64', 64n);
export const usize = unsigned('usize', 64n);

/** `null` and absence are both null. */
export function optional<T>(inner: Decoder<T>): Decoder<T | null> {
  return {
    absent: () => null,
    read(json) {
      if (json.peek() !== 'n') {
        return inner.read(json);
      }
      json.keyword('null');
      return null;
    },
  };
}

/** Absence is `value`; `null` is not. */
export function defaulted<T>(inner: Decoder<T>, value: T): Decoder<T> {
  return { absent: () => value, hasDefault: true, read: inner.read };
}

/** One of a set of names. serde takes `{ "Name": null }` for it too. */
export function oneOf<const V extends readonly string[]>(...variants: V): Decoder<V[number]> {
  const check = (json: JsonReader, name: string): V[number] => {
    if (!variants.includes(name)) {
      throw json.error(`unknown variant \`${name}\`, expected ${listed(variants)}`);
    }
    return name;
  };
  return {
    read(json) {
      const next = json.peek();
      if (next === '"') {
        return check(json, json.string());
      }
      if (next !== '{') {
        throw json.peekError(next === '' ? 'EOF while parsing a value' : 'expected value');
      }
      json.open();
      const name = check(json, string.read(json));
      json.colon();
      if (json.peek() !== 'n') {
        refuse(json, 'unit');
      }
      json.keyword('null');
      if (json.peek() !== '}') {
        throw json.error('expected value');
      }
      json.close();
      return name;
    },
  };
}

/** A string that `convert` turns into something else or refuses by undefined. */
export function converted<T>(convert: (text: string) => T | undefined, refusal: string): Decoder<T> {
  return {
    read(json) {
      const value = convert(string.read(json));
      if (value === undefined) {
        throw new JsonError(refusal);
      }
      return value;
    },
  };
}

export function list<T>(inner: Decoder<T>): Decoder<T[]> {
  return {
    read(json) {
      if (json.peek() !== '[') {
        return refuse(json, 'a sequence');
      }
      const values: T[] = [];
      json.open();
      while (json.nextElement(values.length === 0)) {
        values.push(inner.read(json));
      }
      json.close();
      return values;
    },
  };
}

/** Any JSON value. */
export const any: Decoder<unknown> = {
  read(json) {
    const next = json.peek();
    if (next === '"') {
      return json.string();
    }
    if (next === '[') {
      return list(any).read(json);
    }
    if (next === '{') {
      return readObject(json);
    }
    return readScalar(json);
  },
};

/**
 * An object with these fields, or an array of their values in order, which serde takes for a struct too.
 * @param unknown what to do with a field that is not among them
 */
export function struct<F extends Fields>(name: string, fields: F, unknown: 'refuse' | 'ignore'): Decoder<Struct<F>> {
  const names = Object.keys(fields);
  const absent = (key: string): unknown => {
    const absentValue = fields[key]?.absent;
    if (!absentValue) {
      throw new JsonError(`missing field \`${key}\``);
    }
    return absentValue();
  };
  const readMap = (json: JsonReader): Map<string, unknown> => {
    const values = new Map<string, unknown>();
    let first = true;
    for (let key = json.nextKey(true); key !== undefined; key = json.nextKey(first)) {
      first = false;
      const field = Object.hasOwn(fields, key) ? fields[key] : undefined;
      if (!field && unknown === 'refuse') {
        throw json.error(`unknown field \`${key}\`, expected ${listed(names)}`);
      }
      if (values.has(key)) {
        throw json.error(`duplicate field \`${key}\``);
      }
      json.colon();
      const value = (field ?? any).read(json);
      if (field) {
        values.set(key, value);
      }
    }
    return values;
  };
  const readSequence = (json: JsonReader): Map<string, unknown> => {
    const values = new Map<string, unknown>();
    for (const key of names) {
      if (!json.nextElement(values.size === 0)) {
        break;
      }
      values.set(key, fields[key]?.read(json));
    }
    for (const [index, key] of names.entries()) {
      if (!values.has(key) && !fields[key]?.hasDefault) {
        throw new JsonError(`invalid length ${index}, expected struct ${name} with ${names.length} elements`);
      }
    }
    return values;
  };
  return {
    read(json) {
      const open = json.peek();
      if (open !== '{' && open !== '[') {
        return refuse(json, `struct ${name}`);
      }
      json.open();
      let error: JsonError | undefined;
      let entries: [string, unknown][] = [];
      try {
        const values = open === '{' ? readMap(json) : readSequence(json);
        entries = names.map((key) => [key, values.has(key) ? values.get(key) : absent(key)]);
      } catch (thrown) {
        if (!(thrown instanceof JsonError)) {
          throw thrown;
        }
        error = thrown;
      }
      closeStruct(json, open, error);
      return Object.fromEntries(entries) as Struct<F>;
    },
  };
}

/** serde_json reads the closing bracket before it gives a refusal without a position one. */
function closeStruct(json: JsonReader, open: string, error: JsonError | undefined): void {
  if (error?.positioned) {
    throw error;
  }
  const [close, otherwise] = open === '{' ? ['}', 'expected `,` or `}`'] : [']', 'trailing characters'];
  if (json.peek() === close) {
    json.close();
  } else if (!error) {
    if (json.peek() === ',') {
      json.skip();
    }
    throw json.peekError(otherwise);
  }
  if (error) {
    throw json.position(error);
  }
}

function readObject(json: JsonReader): unknown {
  const entries: [string, unknown][] = [];
  json.open();
  for (let key = json.nextKey(true); key !== undefined; key = json.nextKey(false)) {
    json.colon();
    entries.push([key, any.read(json)]);
  }
  json.close();
  return Object.fromEntries(entries);
}
