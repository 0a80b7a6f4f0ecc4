// Rewrites the documents that are generated from the code.
import { writeFileSync } from 'node:fs';
import { DOCUMENTS } from './documents.js';

for (const [name, render] of Object.entries(DOCUMENTS)) {
  writeFileSync(new URL(`../${name}`, import.meta.url), await render());
}
