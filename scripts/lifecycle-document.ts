import { BOOT, RESTORE } from '../ts/vm/boot.js';
import { EXIT_REASONS } from '../ts/vm/exit.js';
import { LADDER } from '../ts/vm/shutdown.js';
import { TRANSITIONS } from '../ts/vm/state.js';

const names = (states: readonly string[]) => states.map((state) => `\`${state}\``).join(', ');

function steps(list: typeof BOOT): string {
  const lines = list.map((line, index) => `${index + 1}. ${names(line.map((step) => step.name))}`);
  return lines.join('\n');
}

/** docs/lifecycle.md: the tables that decide over a VM's life, in print. */
export function renderLifecycle(): string {
  const transitions = Object.entries(TRANSITIONS).map(
    ([state, next]) => `| \`${state}\` | ${next.length > 0 ? names(next) : 'none: it is final'} |`,
  );
  const reasons = Object.entries(EXIT_REASONS).map(([reason, meaning]) => `| \`${reason}\` | ${meaning} |`);
  const rungs = LADDER.map(({ name, meaning }) => `| \`${name}\` | ${meaning} |`);
  return `# The life of a VM

## States

A VM is in one of these states, and goes from each only to those beside it. Every change is a \`state\` event. A call that the
state does not allow rejects with \`INVALID_STATE\`; one that needs a VMM where there is none, with \`NO_CLIENT\`.

| State | May become |
| --- | --- |
${transitions.join('\n')}

\`start()\` needs \`created\`, \`pause()\` and commands in the guest need \`running\`, \`resume()\` needs \`paused\`; \`createSnapshot()\`
and all updates take both. Calls of one VM run one after the other, in the order in which they were made. \`stop()\` is legal in
every state: it ends a start that is under way, waits up to \`graceMs\` for the call under way, and refuses those behind it.

## Start

The steps of one line run side by side, the lines one after the other. Each leaves an undo; when one fails, all are undone in
reverse, and the start rejects with what failed. \`vm.timings\` has when each ran.

${steps(BOOT)}

With \`restore\`, the VM comes out of a snapshot instead:

${steps(RESTORE)}

## Stop

\`stop()\` climbs this ladder from the top, waits up to \`graceMs\` on each rung, and says which one worked; \`stop({ force: true })\`
goes straight to the last.

| Rung | What it does |
| --- | --- |
${rungs.join('\n')}

## End

However a VM ends, everything that it held on the host is released, and then there is one \`exit\` event with the reason:

| Reason | Meaning |
| --- | --- |
${reasons.join('\n')}

This file is written by \`npm run docs\` from the tables in \`ts/vm\`.
`;
}
