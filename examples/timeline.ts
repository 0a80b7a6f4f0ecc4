// Prints the start of a VM as a timeline, by what SmartVM publishes in node:diagnostics_channel: npx tsx examples/timeline.ts
import { subscribe } from 'node:diagnostics_channel';
import { SmartVM, type StepMessage } from 'smartvm';

const COLUMNS = 40;
const steps: StepMessage[] = [];
subscribe('tracing:smartvm:boot:step:asyncEnd', (message) => steps.push(message as StepMessage));

await using smartvm = new SmartVM();
await smartvm.launch({ image: 'debian' });

const endOf = ({ startMs, durationMs = 0 }: StepMessage) => startMs + durationMs;
const scale = COLUMNS / Math.max(...steps.map(endOf));
for (const step of steps.toSorted((a, b) => a.startMs - b.startMs)) {
  const before = Math.floor(step.startMs * scale);
  const bar = '█'.repeat(Math.max(1, Math.floor(endOf(step) * scale) - before));
  const timing = `${step.startMs.toFixed(1).padStart(8)} + ${(step.durationMs ?? 0).toFixed(1).padStart(7)} ms`;
  console.log(`${step.step.padEnd(17)} ${timing}  ${' '.repeat(before)}${bar}`);
}
