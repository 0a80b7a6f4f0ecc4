import { renderDoctor } from './doctor-document.js';
import { renderErrorTable } from './error-table.js';
import { renderFeatureTable } from './feature-table.js';
import { renderLifecycle } from './lifecycle-document.js';
import { renderVersions } from './versions-document.js';

/** The files of docs/ that are generated from the code. */
export const DOCUMENTS: Readonly<Record<string, () => string>> = {
  'doctor.md': renderDoctor,
  'errors.md': renderErrorTable,
  'lifecycle.md': renderLifecycle,
  'versions.md': renderVersions,
  'vmm.md': renderFeatureTable,
};
