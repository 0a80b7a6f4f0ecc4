// `npm run build`: dist from ts/ and go/, each only when its sources changed. The npm packages have to be installed.
import { requireNode } from './lib/node-version.mjs';

requireNode();
const { build } = await import('./lib/build.mjs');
const { main } = await import('./lib/main.mjs');

await main(async () => {
  await build();
  return 0;
});
