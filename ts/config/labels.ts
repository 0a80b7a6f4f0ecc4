import { isSafeKey } from '../util/safe-json.js';
import { isValidVmId, VM_ID_RULE } from './ids.js';
import { assertOptions } from './validation/assert-options.js';
import { type Check, isRecord, object, rule, text } from './validation/checks.js';

/** What a VM is known by beside its id. It means nothing to SmartVM. */
export interface VmTags {
  /** As an id; two VMs may have the same. */
  readonly name?: string | undefined;
  /** At most 64; keys and values of at most 256 bytes. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Name of the image that it runs, for lists. */
  readonly image?: string | undefined;
}

const MAX_LABELS = 64;
const value = text({ minBytes: 0, maxBytes: 256 });
const key = text({ maxBytes: 256 });

const labels: Check = (input, path, report) => {
  if (!isRecord(input)) {
    report(path, 'must be an object');
    return;
  }
  const entries = Object.entries(input);
  if (entries.length > MAX_LABELS) {
    report(path, `must have at most ${MAX_LABELS} entries`);
  }
  for (const [name, text] of entries) {
    const place = `${path}[${JSON.stringify(name.slice(0, 64))}]`;
    key(name, place, report);
    value(text, place, report);
    if (!isSafeKey(name)) {
      report(place, 'must have another name');
    }
  }
};

export const tagChecks = { name: rule(isValidVmId, VM_ID_RULE), labels, image: text({ maxBytes: 4096 }) };

/** @throws SmartVMError INVALID_OPTION with every problem */
export function assertTags({ name, labels, image }: VmTags): void {
  assertOptions(object<VmTags>(tagChecks), { name, labels, image }, 'VM');
}
