import type { IBootSource } from '../types.js';
import { hostPath, object, text } from './checks.js';

/** Firecracker's CMDLINE_MAX_SIZE on both architectures is 2048 with the NUL. */
const MAX_BOOT_ARGS_BYTES = 2047;

export const bootSource = object<IBootSource>(
  { kernelImagePath: hostPath, initrdPath: hostPath, bootArgs: text({ minBytes: 0, maxBytes: MAX_BOOT_ARGS_BYTES }) },
  ['kernelImagePath'],
);
