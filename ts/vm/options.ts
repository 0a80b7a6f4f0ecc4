import { assertTags } from '../config/labels.js';
import { assertLifetime, assertRemoval } from '../config/lifetime.js';
import { assertRestoreOptions } from '../config/restore.js';
import type { VMConfig } from '../config/vm-config.js';
import { SmartVMError } from '../errors.js';
import { assertReadyOptions } from '../guest/ready/ready.js';
import { assertVmmFlags } from '../vmm/flags.js';
import type { MicroVMOptions } from './types.js';

/** @throws SmartVMError INVALID_CONFIG, INVALID_OPTION with all that a start would refuse without looking at the host */
export function assertStartable(config: VMConfig, options: MicroVMOptions): void {
  assertLifetime(options);
  if (options.attach) {
    return; // it runs by the rest
  }
  config.assertValid();
  assertVmmFlags(options.vmmFlags ?? {});
  assertTags(options);
  assertRemoval(options.removeOnExit, options.detached);
  assertReadyOptions(options);
  if (options.restore) {
    assertRestoreOptions(options.restore);
    if (options.readyWhen && options.restore.resume === false) {
      throw new SmartVMError('INVALID_OPTION', 'readyWhen is for a guest that runs, and this one starts paused');
    }
  }
}
