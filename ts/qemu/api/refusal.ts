import type { JsonReader } from './json-reader.js';

/** Reads a value of the wrong type far enough to name it. */
export function refuse(json: JsonReader, expected: string): never {
  const next = json.peek();
  if (next === '[' || next === '{') {
    throw json.error(`invalid type: ${next === '[' ? 'sequence' : 'map'}, expected ${expected}`);
  }
  if (next === '"') {
    throw json.error(`invalid type: string ${JSON.stringify(json.string())}, expected ${expected}`);
  }
  if (/[-0-9]/.test(next)) {
    throw json.error(`invalid type: ${described(json.number())}, expected ${expected}`);
  }
  const value = readScalar(json);
  throw json.error(`invalid type: ${value === null ? 'null' : `boolean \`${value}\``}, expected ${expected}`);
}

/** Whether serde_json takes the number for a float: by how it is written, or because no integer type holds it. */
export function isFloat(number: string): boolean {
  return /[.eE]/.test(number) || BigInt(number) >= 1n << 64n || BigInt(number) < -(1n << 63n) || number === '-0';
}

/** A number in the words of serde's refusals. */
export function described(number: string): string {
  if (!isFloat(number)) {
    return `integer \`${BigInt(number)}\``;
  }
  const value = Number(number);
  const text = Math.abs(value) >= 1e16 ? value.toExponential() : Object.is(value, -0) ? '-0' : String(value);
  return `floating point \`${/[.e]/.test(text) ? text : `${text}.0`}\``;
}

/** Names as serde lists what it expected. */
export function listed(names: readonly string[]): string {
  const quoted = names.map((name) => `\`${name}\``);
  return quoted.length > 2 ? `one of ${quoted.join(', ')}` : quoted.join(' or ');
}

/** Reads null, a boolean or a number. */
export function readScalar(json: JsonReader): unknown {
  const next = json.peek();
  const words: Readonly<Record<string, readonly [string, unknown]>> = {
    n: ['null', null],
    t: ['true', true],
    f: ['false', false],
  };
  const word = words[next];
  if (word) {
    json.keyword(word[0]);
    return word[1];
  }
  if (/[-0-9]/.test(next)) {
    return Number(json.number());
  }
  throw json.peekError(next === '' ? 'EOF while parsing a value' : 'expected value');
}
