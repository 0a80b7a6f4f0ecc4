import type { JailOptions } from '../../config/jail.js';
import { SmartVMError } from '../../errors.js';

let warned = false;

/**
 * Whether VMMs are jailed, and how: undefined where not.
 * @throws SmartVMError JAIL_UNAVAILABLE when a user who cannot asks for it
 */
export function jailPolicy(
  wanted: boolean | JailOptions | undefined,
  uid = process.getuid?.(),
): JailOptions | undefined {
  if (wanted === false) {
    return undefined;
  }
  if (uid === 0) {
    return typeof wanted === 'object' ? wanted : {};
  }
  if (wanted !== undefined) {
    throw new SmartVMError(
      'JAIL_UNAVAILABLE',
      `only root can jail a VMM, and this is uid ${uid}; run as root, or give \`jail: false\``,
    );
  }
  warnOnce();
  return undefined;
}

function warnOnce(): void {
  if (!warned) {
    warned = true;
    process.emitWarning(
      'VMMs run unjailed, with all the rights of this user: only root can jail them. `jail: false` silences this',
      {
        code: 'SMARTVM_UNJAILED',
      },
    );
  }
}
