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
  const [{ diagnose }, { countsOf, renderJson, renderTable }, { styleOf }] = await Promise.all([
    import('../doctor/diagnose.js'),
    import('./findings.js'),
    import('./vms/style.js'),
  ]);
  const findings = await diagnose();
  const { fail, warn } = countsOf(findings);
  const isHealthy = fail === 0 && (!production || warn === 0);
  console.log(json ? renderJson(findings, isHealthy) : renderTable(findings, isHealthy, styleOf(process.stdout)));
  return isHealthy ? 0 : 1;
}
