import { EventEmitter } from 'node:events';
import { type JsonValue, jsonText } from '../api/json-value.js';
import { Fault } from '../fault.js';

type MmdsVersion = 'V1' | 'V2';

/** The metadata of the microVM, as the API sees it. */
export class MmdsStore {
  /** Tells by `change` of each change of the content. */
  readonly changes = new EventEmitter<{ change: [] }>();
  version: MmdsVersion = 'V1';
  imdsCompat = false;
  readonly #limitBytes: number;
  #value: JsonValue = null;
  #initialized = false;

  /** @param limitBytes how long the compact JSON may be */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get value(): JsonValue {
    return this.#value;
  }

  /** As `GET /mmds` answers it. */
  text(): string {
    return this.#value === null ? '{}' : jsonText(this.#value);
  }

  /** @throws Fault 413 when it is too large */
  put(value: JsonValue): void {
    this.#check(value);
    this.#value = value;
    this.#initialized = true;
    this.changes.emit('change');
  }

  /** Applies a JSON merge patch (RFC 7396). @throws Fault */
  patch(patch: JsonValue): void {
    if (!this.#initialized) {
      throw notInitialized();
    }
    const merged = mergePatch(this.#value, patch);
    this.#check(merged);
    this.#value = merged;
    this.changes.emit('change');
  }

  #check(value: JsonValue): void {
    if (Buffer.byteLength(jsonText(value)) > this.#limitBytes) {
      throw new Fault("MMDS limit exceeded error: The MMDS patch request doesn't fit.", 413);
    }
  }
}

export const notInitialized = () => new Fault('MMDS error: The MMDS data store is not initialized.');

function mergePatch(target: JsonValue, patch: JsonValue): JsonValue {
  if (!(patch instanceof Map)) {
    return patch;
  }
  const merged = new Map<string, JsonValue>(target instanceof Map ? target : []);
  for (const [key, value] of patch as ReadonlyMap<string, JsonValue>) {
    if (value === null) {
      merged.delete(key);
    } else {
      merged.set(key, mergePatch(merged.get(key) ?? null, value));
    }
  }
  return merged;
}
