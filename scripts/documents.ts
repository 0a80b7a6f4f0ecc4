import { renderDoctor } from './doctor-document.js';
import { renderErrorTable } from './error-table.js';
import { renderFeatureTable } from './feature-table.js';
import { renderJail } from './jail-document.js';
import { renderLifecycle } from './lifecycle-document.js';
import { renderManPage } from './man-page.js';
import { renderVersions } from './versions-document.js';

/** The files that are generated from the code. */
export const DOCUMENTS: Readonly<Record<string, () => string | Promise<string>>> = {
  'docs/doctor.md': renderDoctor,
  'docs/errors.md': renderErrorTable,
  'docs/jail.md': renderJail,
  'docs/lifecycle.md': renderLifecycle,
  'docs/versions.md': renderVersions,
  'docs/vmm.md': renderFeatureTable,
  'man/smartvm.1': renderManPage,
};
