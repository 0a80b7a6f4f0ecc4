// `npm test [-- STEP…]`: makes the clone ready, then runs every check, or those whose names contain one of the words given.
import { requireNode } from './lib/node-version.mjs';

requireNode();
const { Interrupted } = await import('./lib/interrupt.mjs');
const { main } = await import('./lib/main.mjs');
const { Failure } = await import('./lib/process.mjs');
const { green, red, say } = await import('./lib/say.mjs');
const { setUp } = await import('./lib/setup.mjs');
const { STEPS } = await import('./lib/steps.mjs');

if (!process.stderr.isTTY || process.env.CI === 'true') {
  process.env.NO_COLOR = '1';
  delete process.env.FORCE_COLOR;
}

await main(async () => {
  const words = process.argv.slice(2);
  const isMeant = ([name]) => words.length === 0 || words.some((word) => name.includes(word));
  const [side, alone] = [STEPS.side.filter(isMeant), STEPS.alone.filter(isMeant)];
  if (side.length + alone.length === 0) {
    const names = [...STEPS.side, ...STEPS.alone].map(([name]) => name);
    say(`no step is named like that; there are: ${names.join(', ')}`);
    return 1;
  }
  await setUp({ forTests: true });
  const sum = { passed: 0, failed: 0, skipped: 0 };
  await Promise.all([runAll(side, sum), runAll(side, sum)]);
  await runAll(alone, sum);
  process.stdout.write(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped\n`);
  return sum.failed > 0 ? 1 : 0;
});

/** Takes one step after the other, until nothing is left. */
async function runAll(steps, sum) {
  for (let next = steps.shift(); next; next = steps.shift()) {
    const tally = await runStep(...next);
    for (const key of Object.keys(sum)) {
      sum[key] += tally[key];
    }
  }
}

async function runStep(name, step) {
  const started = performance.now();
  say(`${name} …`);
  const tally = await step().then(asTally, asFailure);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (tally.output) {
    process.stderr.write(`${tally.output.trimEnd()}\n`);
  }
  say(`${name}: ${tally.failed === 0 ? green('passed') : red('FAILED')} in ${seconds} s`);
  return tally;
}

function asTally(result) {
  return result?.passed === undefined ? { passed: 1, failed: 0, skipped: 0, output: '' } : result;
}

function asFailure(error) {
  if (error instanceof Interrupted) {
    throw error;
  }
  return { passed: 0, failed: 1, skipped: 0, output: error instanceof Failure ? error.message : error.stack };
}
