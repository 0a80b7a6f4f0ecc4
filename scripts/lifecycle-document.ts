import { BOOT, RESTORE } from '../ts/vm/boot.js';
import { EXIT_REASONS } from '../ts/vm/exit.js';
import { LADDER } from '../ts/vm/shutdown.js';
import { TRANSITIONS, TRANSITIONS_BY_OTHERS, type VmState } from '../ts/vm/state.js';

const names = (states: readonly string[]) => states.map((state) => `\`${state}\``).join(', ');

function steps(list: typeof BOOT): string {
  const lines = list.map((line, index) => `${index + 1}. ${names(line.map((step) => step.name))}`);
  return lines.join('\n');
}

function byOthers(state: VmState): string {
  const next = TRANSITIONS_BY_OTHERS[state];
  return next ? `\`${next}\`` : '';
}

/** docs/lifecycle.md: the tables that decide over a VM's life, in print. */
export function renderLifecycle(): string {
  const transitions = Object.entries(TRANSITIONS).map(
    ([state, next]) =>
      `| \`${state}\` | ${next.length > 0 ? names(next) : 'none: it is final'} | ${byOthers(state as VmState)} |`,
  );
  const reasons = Object.entries(EXIT_REASONS).map(([reason, meaning]) => `| \`${reason}\` | ${meaning} |`);
  const rungs = LADDER.map(({ name, meaning }) => `| \`${name}\` | ${meaning} |`);
  return `# The life of a VM

## States

A VM is in one of these states, and goes from each only to those beside it. Every change is a \`state\` event. A call that the
state does not allow rejects with \`INVALID_STATE\`; one that needs a VMM where there is none, with \`NO_CLIENT\`.

| State | May become | By others |
| --- | --- | --- |
${transitions.join('\n')}

\`start()\` needs \`created\`, \`pause()\` and commands in the guest need \`running\`, \`resume()\` needs \`paused\`; \`createSnapshot()\`
and all updates take both. Calls of one VM run one after the other, in the order in which they were made. \`stop()\` is legal in
every state: it ends a start that is under way, waits up to \`graceMs\` for the call under way, and refuses those behind it.

Others are the programs that have attached to the VM, and its keeper at the end of its time. Every MicroVM of a VM hears of their
changes from the keeper, a moment later, looks at the VMM, and takes its state; the keeper writes it to \`state.json\`, too. That the
VM has ended, all of them hear as \`exit\`.

## Start

The steps of one line run side by side, the lines one after the other. Each leaves an undo; when one fails, all are undone in
reverse, and the start rejects with what failed. \`vm.timings\` has when each ran.

${steps(BOOT)}

With \`restore\`, the VM comes out of a snapshot instead:

${steps(RESTORE)}

## Stop

\`stop()\` climbs this ladder from the top, waits up to \`graceMs\` on each rung (5 s where nothing is said, and 30 s for an image's own
init), and says which one worked; \`stop({ force: true })\`
goes straight to the last.

| Rung | What it does |
| --- | --- |
${rungs.join('\n')}

## Time

\`launch()\` and \`createVM()\` take \`timeoutMs\`, the milliseconds of the VM's life once its start is through, and \`idleTimeoutMs\`, the
most for which no program may use its guest: by a command, a connection, a terminal or files. At the end of either the keeper stops the
VM: Ctrl-Alt-Del where the guest runs on x86_64, after ten seconds SIGTERM, after another SIGKILL. That holds for an image's init too, to
which \`stop()\` gives longer. With \`onTimeout: 'pause'\` it pauses it.

- The keeper sees to it, so it holds when the program that said it is gone. If the keeper is killed, the VM goes with it.
- \`vm.setTimeout(ms)\` gives the VM so long from now, be that more or less than it had; \`vm.setTimeout(undefined)\` takes the limit away;
  \`vm.setIdleTimeout()\` likewise. Any MicroVM of the VM may, whichever program has it. One that comes too late rejects with
  \`INVALID_STATE\`.
- The clock is CLOCK_BOOTTIME: it does not heed changes of the host's time, and goes on while the host sleeps, because the time is
  what somebody paid or waits for, and not what the guest computes.
- A paused VM is not idle, but its \`timeoutMs\` goes on. At its end it is stopped without being asked, for it would not hear.
- A pause uses a \`timeoutMs\` up: the resumed VM has none until \`setTimeout()\`. Its idle time begins anew.
- A VM that is stopped so emits \`exit\` with the reason \`timeout\` or \`idle-timeout\`; pending commands reject with \`VMM_EXITED\`.

## End

However a VM ends, everything that it held on the host is released, and then there is one \`exit\` event with the reason:

| Reason | Meaning |
| --- | --- |
${reasons.join('\n')}

This file is written by \`npm run docs\` from the tables in \`ts/vm\`.
`;
}
