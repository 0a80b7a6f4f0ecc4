import type { Command } from 'commander';

interface DoctorOptions {
  json?: boolean;
  production?: boolean;
}

export function addDoctorCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('doctor')
    .description('look at this host, at what SmartVM needs of it, and at the wall around the VMs that run')
    .option('--json', 'print the findings as JSON')
    .option('--production', 'for a host that several tenants share: warnings count as failures')
    .addHelpText('after', '\nThe exit code is 0, or 1 when something fails.\n\nExample:\n  smartvm doctor --production')
    .action(async (options: DoctorOptions) => exit(await doctor(options)));
}

async function doctor({ json, production }: DoctorOptions): Promise<number> {
  const [{ diagnose }, { countsOf, renderJson, renderTable }] = await Promise.all([
    import('../doctor/diagnose.js'),
    import('./findings.js'),
  ]);
  const findings = await diagnose();
  const { fail, warn } = countsOf(findings);
  const isHealthy = fail === 0 && (!production || warn === 0);
  console.log(json ? renderJson(findings, isHealthy) : renderTable(findings, isHealthy, styleOf(process.stdout)));
  return isHealthy ? 0 : 1;
}

/** Lines as wide as the terminal, in colour; elsewhere plain and whole. NO_COLOR: https://no-color.org */
function styleOf({ isTTY, columns }: NodeJS.WriteStream): { columns: number; colors: boolean } {
  if (!isTTY) {
    return { columns: Number.POSITIVE_INFINITY, colors: false };
  }
  return { columns: columns || 80, colors: !process.env.NO_COLOR && process.env.TERM !== 'dumb' };
}
