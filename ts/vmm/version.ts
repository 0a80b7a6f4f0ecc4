import type { Since } from '../config/since.js';
import { SmartVMError } from '../errors.js';
import { fileState } from '../util/file-state.js';
import { run } from '../util/run.js';

const MAX_VERSION_BYTES = 1 << 16;

/**
 * Holds what is asked of a VMM against what its version has, before it is asked. A development version counts as the release
 * that it leads to; of a version that is no number nothing is known, and the VMM itself decides.
 * @throws SmartVMError VMM_TOO_OLD naming every such field and both versions
 */
export function assertNewEnough(gates: readonly Since[], vmmVersion: string): void {
  const tooYoung = gates.filter(({ version }) => isOlder(vmmVersion, version));
  if (tooYoung.length > 0) {
    const fields = tooYoung.map(({ field, values, version }) => {
      const what = values === undefined ? field : `${field} of ${values.join(' or ')}`;
      return `${what} needs ${version} or newer`;
    });
    const needed = tooYoung.map(({ version }) => version).reduce((a, b) => (isOlder(a, b) ? b : a));
    throw new SmartVMError('VMM_TOO_OLD', `the VMM is version ${vmmVersion}: ${fields.join('; ')}`, {
      details: { vmmVersion, neededVersion: needed, fields: tooYoung.map(({ field }) => field) },
    });
  }
}

/** What this program has asked already, by the executable's path and state. */
const KNOWN_VERSIONS = new Map<string, { readonly state: string; readonly version: string }>();

/**
 * The version that an executable prints with `--version`, such as `1.17.0`. It is asked once, and again when the file has changed.
 * @throws SmartVMError TOOL_FAILED, TOOL_MISSING, CANCELED
 */
export async function versionOfExecutable(path: string, signal?: AbortSignal): Promise<string> {
  const state = fileState(path);
  const known = KNOWN_VERSIONS.get(path);
  if (known !== undefined && known.state === state) {
    return known.version;
  }
  const output = await run(path, ['--version'], { signal, maxOutputBytes: MAX_VERSION_BYTES });
  const version = /v?(\d+\.\d+\S*)/.exec(output.toString('utf8'))?.[1] ?? 'unknown';
  if (state !== undefined) {
    KNOWN_VERSIONS.set(path, { state, version });
  }
  return version;
}

/** By major and minor number. */
function isOlder(version: string, than: string): boolean {
  const [have, need] = [numbersOf(version), numbersOf(than)];
  return have !== undefined && need !== undefined && (have[0] - need[0] || have[1] - need[1]) < 0;
}

function numbersOf(version: string): [number, number] | undefined {
  const match = /^v?(\d+)\.(\d+)/.exec(version);
  return match ? [Number(match[1]), Number(match[2])] : undefined;
}
