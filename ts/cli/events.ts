import type { Command } from 'commander';
import { collect } from './ps.js';
import type { VmEvent } from './vms/vm-events.js';

/** In which all that is kept has arrived. */
const KEPT_MS = 500;

interface EventsOptions {
  filter?: string[];
  format?: string;
  since?: string;
  until?: string;
}

export function addEventsCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('events')
    .description('print what happens to VMs as it happens, whatever program does it')
    .option('-f, --filter <key=value>', 'only those that match; keys: vm, event, label, image', collect)
    .option('--format <format>', "'json', or a template such as '{{.Time}} {{.Event}} {{.ID}}'")
    .option(
      '--since <time>',
      'first what has happened since then, as far as it is kept: a time, or 10m for ten minutes ago',
    )
    .option('--until <time>', 'end then')
    .addHelpText('after', '\nExample:\n  smartvm events --filter event=die --format json')
    .action(async (options: EventsOptions) => exit(await events(options)));
}

async function events({ filter = [], format, since, until }: EventsOptions): Promise<number> {
  const [
    { watchInterrupts },
    { linkSignals },
    { defaultRuntimeDir },
    { parseFilters },
    { eventFilters, eventRenderer },
    { printLines },
    { timeOf },
    { watchVms },
  ] = await Promise.all([
    import('./interrupt.js'),
    import('../util/deadline.js'),
    import('../config/directories.js'),
    import('./vms/filter.js'),
    import('./vms/event-lines.js'),
    import('./vms/output.js'),
    import('./vms/time.js'),
    import('./vms/watch.js'),
  ]);
  const passes = parseFilters<VmEvent>(filter, eventFilters);
  const render = eventRenderer(format);
  const now = Date.now();
  const end = until === undefined ? undefined : timeOf('--until', until, now);
  const sinceMs = since === undefined ? undefined : timeOf('--since', since, now);
  using interrupt = watchInterrupts();
  using linked = linkSignals([interrupt.signal], end === undefined ? 0 : Math.max(end - now, KEPT_MS));
  let failure: unknown;
  const show = (event: VmEvent) =>
    printLines([render(event)]).catch((error: unknown) => {
      failure = error;
    });
  // What keepers have kept comes VM by VM: it is told in the order in which it happened.
  let kept: VmEvent[] | undefined = sinceMs === undefined ? undefined : [];
  const tellKept = () => {
    kept?.sort((a, b) => Date.parse(a.time) - Date.parse(b.time)).map(show);
    kept = undefined;
  };
  const timer = setTimeout(tellKept, KEPT_MS);
  await watchVms({
    runtimeRoot: defaultRuntimeDir(),
    since: sinceMs,
    signal: linked.signal,
    onEvent: (event) => {
      if (passes(event) && (end === undefined || Date.parse(event.time) <= end)) {
        kept ? kept.push(event) : void show(event);
      }
    },
  });
  clearTimeout(timer);
  tellKept();
  if (failure !== undefined) {
    throw failure;
  }
  return interrupt.exitCode ?? 0;
}
