// Rewrites the documents that are generated from the code.
import { writeFileSync } from 'node:fs';
import { renderErrorTable } from './error-table.js';

writeFileSync(new URL('../docs/errors.md', import.meta.url), renderErrorTable());
