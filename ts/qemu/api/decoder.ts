import { JsonError, JsonReader } from './json-reader.js';
import { jsonValue } from './json-value.js';
import { listed, refuse } from './refusal.js';

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

/** A path; what the refusal calls it is the only difference to a string. */
export const path: Decoder<string> = {
  read: (json) => (json.peek() === '"' ? json.string() : refuse(json, 'path string')),
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

/**
 * A string that `convert` turns into something else or refuses by undefined.
 * @param refusal what to say of a string that cannot be converted
 */
export function converted<T>(
  convert: (text: string) => T | undefined,
  refusal: string | ((text: string) => string),
): Decoder<T> {
  return {
    read(json) {
      const text = string.read(json);
      const value = convert(text);
      if (value === undefined) {
        throw new JsonError(typeof refusal === 'string' ? refusal : refusal(text));
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
      try {
        while (json.nextElement(values.length === 0)) {
          values.push(inner.read(json));
        }
      } catch (error) {
        throw error instanceof JsonError && !error.positioned ? afterElement(json, error) : error;
      }
      json.close();
      return values;
    },
  };
}

/** serde_json looks for the end of an array before it gives a refusal of an element a position. */
function afterElement(json: JsonReader, error: JsonError): JsonError {
  const next = json.peek();
  if (next === ']' || next === ',') {
    json.skip();
    json.peek();
  }
  return json.position(error);
}

/** An object whose keys are free and whose values are all of one type. */
export function mapOf<T>(inner: Decoder<T>): Decoder<ReadonlyMap<string, T>> {
  return {
    read(json) {
      if (json.peek() !== '{') {
        return refuse(json, 'a map');
      }
      const values = new Map<string, T>();
      json.open();
      for (let key = json.nextKey(true); key !== undefined; key = json.nextKey(false)) {
        json.colon();
        values.set(key, inner.read(json));
      }
      json.close();
      return values;
    },
  };
}

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
      const value = (field ?? jsonValue).read(json);
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
