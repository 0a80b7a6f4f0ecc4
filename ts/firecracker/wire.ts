import type { components } from './generated.js';

type Schemas = components['schemas'];

/** A body as Firecracker's API description has it. */
export type Wire<Name extends keyof Schemas> = Schemas[Name];

/**
 * What a VMM answers: the description's fields, and room for what a newer VMM has beyond it. Fields that are not described
 * are `unknown`, and an enumeration may hold a word that is not described.
 */
export type Answer<T> = T extends string
  ? T | (string & Record<never, never>)
  : T extends readonly (infer Item)[]
    ? Answer<Item>[]
    : T extends object
      ? { [Field in keyof T]: Answer<T[Field]> } & { readonly [field: string]: unknown }
      : T;

/** {@link Answer} to a call that gives a body of the API description. */
export type WireAnswer<Name extends keyof Schemas> = Answer<Schemas[Name]>;
