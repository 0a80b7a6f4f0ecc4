import { fileURLToPath } from 'node:url';

/** The package's own folder: two levels up from this file, in the source tree and in the built one. */
export const PACKAGE_ROOT = fileURLToPath(new URL('../../', import.meta.url));
