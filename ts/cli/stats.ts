import type { Command } from 'commander';
import type { ListedVm } from './vms/list.js';

interface StatsOptions {
  all?: boolean;
  format?: string;
  /** False with `--no-stream`. */
  stream: boolean;
}

const INTERVAL_MS = 1_000;

export function addStatsCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('stats')
    .description('show what VMs take of the host: CPU, memory, network, disks; live')
    .argument('[vm...]', 'their ids, names, or beginnings of ids; without, all that run')
    .option('-a, --all', 'also those that do not run')
    .option('--format <format>', "'table', 'json', or a template such as '{{.ID}} {{.CPUPercent}}'")
    .option('--no-stream', 'print it once')
    .addHelpText('after', '\nExample:\n  smartvm stats --no-stream --format json web')
    .action(async (references: string[], options: StatsOptions) => exit(await stats(references, options)));
}

async function stats(references: readonly string[], { all, format, stream }: StatsOptions): Promise<number> {
  const [
    { watchInterrupts },
    { delay },
    { EXIT_SOME_FAILED, forEach },
    { statsPrinter },
    { findVm },
    { listVms },
    { Sampler },
  ] = await Promise.all([
    import('./interrupt.js'),
    import('../util/deadline.js'),
    import('./vms/each.js'),
    import('./vms/stats-printer.js'),
    import('./vms/find.js'),
    import('./vms/list.js'),
    import('./vms/sampler.js'),
  ]);
  const print = statsPrinter(format, stream);
  const ids = new Set<string>();
  const exitCode = await forEach(references, (reference) => ids.add(findVm(listVms(), reference).id));
  if (references.length > 0 && ids.size === 0) {
    return EXIT_SOME_FAILED;
  }
  const isShown = ({ id, status }: ListedVm) =>
    ids.size > 0 ? ids.has(id) : all || status === 'running' || status === 'paused';
  const sampler = new Sampler();
  const sample = () => sampler.rows(listVms().vms.filter(isShown));
  using interrupt = watchInterrupts();
  await sample(); // what is shown of CPUs is what was used between two
  for (let rounds = 0; stream || rounds === 0; rounds++) {
    await delay(INTERVAL_MS, interrupt.signal);
    if (interrupt.signal.aborted) {
      break;
    }
    const rows = await sample();
    await print(rows);
    if (ids.size > 0 && !rows.some(({ state }) => state !== 'exited')) {
      break; // all that were named have ended
    }
  }
  return interrupt.exitCode ?? exitCode;
}
