import { constants, open } from 'node:fs/promises';
import type { BootSource } from '../api/bodies.js';
import { Fault, osErrorText } from '../fault.js';
import { KernelCmdline } from './kernel-cmdline.js';

export const NO_BOOT_SOURCE = { kernel_image_path: '', initrd_path: null, boot_args: null };

/** A boot source whose files could be opened. */
export interface CheckedBootSource {
  readonly config: BootSource;
  readonly cmdline: KernelCmdline;
}

/** @throws Fault */
export async function checkBootSource(config: BootSource): Promise<CheckedBootSource> {
  await checkOpens(config.kernel_image_path, 'The kernel file cannot be opened:');
  if (config.initrd_path !== null) {
    await checkOpens(
      config.initrd_path,
      'The initrd file cannot be opened due to invalid path or invalid permissions.',
    );
  }
  try {
    return { config, cmdline: KernelCmdline.parse(config.boot_args) };
  } catch (error) {
    throw error instanceof Fault
      ? new Fault(`Boot source error: The kernel command line is invalid: ${error.message}`)
      : error;
  }
}

async function checkOpens(path: string, refusal: string): Promise<void> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    await file.close();
  } catch (cause) {
    throw new Fault(`Boot source error: ${refusal} ${osErrorText(cause)}`);
  }
}
