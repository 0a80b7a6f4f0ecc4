import { quote } from '../../config/ids.js';
import { SmartVMError } from '../../errors.js';

export const DEFAULT_DETACH_KEYS = 'ctrl-],d';

/** Finds the keys by which a terminal is left among all that is typed. */
export class DetachKeys {
  readonly #keys: Buffer;
  #matched = 0;

  /** @param keys such as `ctrl-p,ctrl-q`; empty for none. @throws SmartVMError INVALID_OPTION */
  constructor(keys: string = DEFAULT_DETACH_KEYS) {
    this.#keys = Buffer.from(keys === '' ? [] : keys.split(',').map(codeOf));
  }

  /** What goes on to the guest, where the keys may have begun before; undefined once they are complete. */
  push(chunk: Buffer): Buffer | undefined {
    const keys = this.#keys;
    if (keys.length === 0) {
      return chunk;
    }
    const passed: Buffer[] = [];
    for (const [at, code] of chunk.entries()) {
      if (code === keys[this.#matched]) {
        this.#matched += 1;
        if (this.#matched === keys.length) {
          return undefined;
        }
        continue;
      }
      passed.push(keys.subarray(0, this.#matched)); // it was not meant
      this.#matched = code === keys[0] ? 1 : 0;
      if (this.#matched === 0) {
        passed.push(chunk.subarray(at, at + 1));
      }
    }
    return Buffer.concat(passed);
  }
}

function codeOf(key: string): number {
  const [, control] = /^ctrl-([a-z@[\\\]^_])$/i.exec(key) ?? [];
  if (control !== undefined) {
    return control.toUpperCase().charCodeAt(0) & 0x1f;
  }
  if (/^[!-~]$/.test(key)) {
    return key.charCodeAt(0);
  }
  throw new SmartVMError(
    'INVALID_OPTION',
    `${quote(key)} is no key: there are single characters and ctrl-<letter>, with commas between`,
  );
}
