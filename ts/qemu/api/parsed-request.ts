import { Fault } from '../fault.js';
import type { ActionName, ActionParameters, VmmAction } from './actions.js';
import { type Decoder, decode } from './decoder.js';
import { JsonError } from './json-reader.js';

/** What a route makes of a request. */
export interface ParsedRequest {
  readonly action: VmmAction;
  /** A deprecated field was used: the answer gets a `Deprecation` header. */
  readonly deprecated: boolean;
}

/** Parses what follows the first part of the path, and the body. Undefined: no such route after all. */
export type Route = (rest: readonly string[], body: Buffer) => ParsedRequest | undefined;
export type Routes = Readonly<Record<string, Route>>;

export function request<K extends ActionName>(
  name: K,
  parameters: ActionParameters[K],
  deprecated = false,
): ParsedRequest {
  return { action: { name, parameters } as VmmAction, deprecated };
}

/** @throws Fault */
export function json<T>(decoder: Decoder<T>, body: Buffer): T {
  try {
    return decode(decoder, body);
  } catch (error) {
    if (error instanceof JsonError) {
      throw jsonFault(error.message);
    }
    throw error;
  }
}

/** A body that names its resource, as the path does. @throws Fault */
export function withId<K extends 'drive_id' | 'iface_id' | 'id', T extends Record<K, string>>(
  pathId: string | undefined,
  decoder: Decoder<T>,
  body: Buffer,
  key: K,
): T {
  const id = checkedId(pathId);
  const value = json(decoder, body);
  if (value[key] !== id) {
    const detail = key === 'iface_id' ? [` [${id}]`, ` [${value[key]}]`] : ['', ''];
    throw new Fault(`The id from the path${detail[0]} does not match the id from the body${detail[1]}!`);
  }
  return value;
}

/** @throws Fault */
export function checkedId(id: string | undefined): string {
  if (!id) {
    throw new Fault('The ID cannot be empty.');
  }
  if (!/^[_\p{Alphabetic}\p{N}]+$/u.test(id)) {
    throw new Fault('API Resource IDs can only contain alphanumeric characters and underscores.');
  }
  return id;
}

export function jsonFault(reason: string): Fault {
  return new Fault(`An error occurred when deserializing the json body of a request: ${reason}.`);
}
