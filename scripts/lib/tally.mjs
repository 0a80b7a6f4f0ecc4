/**
 * Numbers of tests, and what to print of those that failed.
 * @typedef {{ passed: number, failed: number, skipped: number, output: string }} Tally
 */

/** From vitest's JSON reporter, which has a file that could not be loaded as a failed suite without tests. */
export function vitestTally(report, exitCode) {
  const { numPassedTests: passed, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(report);
  return { passed, failed: atLeastOne(numFailedTests, exitCode), skipped: numPendingTests + numTodoTests, output: '' };
}

/** From `go test -json`: an event a line. The output of what failed is kept. */
export function goTally(lines, exitCode) {
  const count = { pass: 0, fail: 0, skip: 0 };
  const output = new Map();
  let failures = '';
  for (const line of lines.split('\n').filter((text) => text.startsWith('{'))) {
    const { Action, Package, ImportPath, Test, Output } = JSON.parse(line);
    const key = `${Package ?? ImportPath} ${Test ?? ''}`;
    if (Action === 'output' || Action === 'build-output') {
      output.set(key, (output.get(key) ?? '') + Output);
    } else if (Action === 'fail' || Action === 'build-fail') {
      failures += output.get(key) ?? '';
    }
    if (Test !== undefined && Action in count) {
      count[Action] += 1;
    }
  }
  return { passed: count.pass, failed: atLeastOne(count.fail, exitCode), skipped: count.skip, output: failures };
}

function atLeastOne(failed, exitCode) {
  return exitCode === 0 ? failed : Math.max(1, failed);
}
