// `npm start [-- COMMAND…]`: makes the clone ready, boots a microVM, runs a command in it and exits with its exit code.
import { requireNode } from './lib/node-version.mjs';

requireNode();
const { main } = await import('./lib/main.mjs');
const { inRoot } = await import('./lib/package.mjs');
const { runForeground } = await import('./lib/process.mjs');
const { setUp } = await import('./lib/setup.mjs');

await main(async () => {
  await setUp();
  const command = process.argv.length > 2 ? process.argv.slice(2) : ['uname', '-a'];
  return await runForeground(process.execPath, [inRoot('bin/smartvm'), 'run', '--', ...command]);
});
