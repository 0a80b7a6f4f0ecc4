import { SmartVMError } from '../../errors.js';
import { type Check, errorsOf } from './checks.js';

/** @throws SmartVMError INVALID_OPTION with every problem that `check` finds, the path of the field first */
export function assertOptions(check: Check, options: unknown, name: string): void {
  const errors = errorsOf(check, options, name);
  if (errors.length > 0) {
    throw new SmartVMError('INVALID_OPTION', `invalid ${name}: ${errors.join('; ')}`, { details: { errors } });
  }
}
