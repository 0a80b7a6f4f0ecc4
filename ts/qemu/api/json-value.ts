import type { Decoder } from './decoder.js';
import type { JsonReader } from './json-reader.js';
import { isFloat, readScalar } from './refusal.js';

/**
 * Any JSON value as serde_json keeps it: integers of 64 bits apart from floats, objects as maps, so that no key is special.
 */
export type JsonValue =
  | null
  | boolean
  | string
  | bigint
  | number
  | readonly JsonValue[]
  | ReadonlyMap<string, JsonValue>;

export const jsonValue: Decoder<JsonValue> = {
  read(json) {
    const next = json.peek();
    if (next === '"') {
      return json.string();
    }
    if (next === '[') {
      return readArray(json);
    }
    if (next === '{') {
      return readMap(json);
    }
    if (/[-0-9]/.test(next)) {
      const text = json.number();
      return isFloat(text) ? Number(text) : BigInt(text);
    }
    return readScalar(json) as null | boolean;
  },
};

function readArray(json: JsonReader): JsonValue[] {
  const values: JsonValue[] = [];
  json.open();
  while (json.nextElement(values.length === 0)) {
    values.push(jsonValue.read(json));
  }
  json.close();
  return values;
}

function readMap(json: JsonReader): Map<string, JsonValue> {
  const values = new Map<string, JsonValue>();
  json.open();
  for (let key = json.nextKey(true); key !== undefined; key = json.nextKey(false)) {
    json.colon();
    values.set(key, jsonValue.read(json));
  }
  json.close();
  return values;
}

/** As serde_json writes it: compact, keys in the order of their bytes, floats with a point or an exponent. */
export function jsonText(value: JsonValue): string {
  if (typeof value === 'bigint') {
    return String(value);
  }
  if (typeof value === 'number') {
    return floatText(value);
  }
  if (Array.isArray(value)) {
    return `[${value.map(jsonText).join(',')}]`;
  }
  if (value instanceof Map) {
    const members = sortedKeys(value).map((key) => `${JSON.stringify(key)}:${jsonText(value.get(key) ?? null)}`);
    return `{${members.join(',')}}`;
  }
  return JSON.stringify(value);
}

/** JavaScript compares strings by UTF-16 units, serde_json's maps by bytes. */
export function sortedKeys(map: ReadonlyMap<string, unknown>): string[] {
  return [...map.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

/** The shortest digits that read back as the value, in the notation of Rust's `ryu`. */
function floatText(value: number): string {
  const [mantissa = '0', exponent = '0'] = Math.abs(value).toExponential().split('e');
  const digits = mantissa.replace('.', '');
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  const point = Number(exponent) + 1;
  if (value === 0) {
    return `${sign}0.0`;
  }
  if (point > 0 && point <= 16) {
    const whole = digits.slice(0, point).padEnd(point, '0');
    return `${sign}${whole}.${digits.slice(point) || '0'}`;
  }
  if (point > -5 && point <= 0) {
    return `${sign}0.${'0'.repeat(-point)}${digits}`;
  }
  return `${sign}${mantissa}e${Number(exponent)}`;
}
