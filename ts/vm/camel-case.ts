type Words<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<Words<Tail>>}`
  : Name extends `${infer Head}-${infer Tail}`
    ? `${Head}${Capitalize<Words<Tail>>}`
    : Name;

/** An answer of the API with its field names in camelCase. */
export type CamelCased<T> = T extends readonly (infer Item)[]
  ? CamelCased<Item>[]
  : T extends object
    ? { [Name in keyof T as Name extends string ? Words<Name> : Name]: CamelCased<T[Name]> }
    : T;

/** Turns `mem_size_mib` and `machine-config` into `memSizeMib` and `machineConfig`, at any depth; values stay what they are. */
export function camelCased<T>(value: T): CamelCased<T> {
  return convert(value) as CamelCased<T>;
}

function convert(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(convert);
  }
  if (typeof value !== 'object' || value === null) {
    return value;
  }
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [camelCase(name), convert(field)]));
}

function camelCase(name: string): string {
  return name.replace(/[_-]([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase());
}
