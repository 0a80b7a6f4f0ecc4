import { CHECKS } from './checks.js';
import type { Check, Finding } from './finding.js';
import { Host, type HostOptions } from './host.js';

/** Runs every check side by side, and gives what they found in the order of the table. Never rejects for a host's faults. */
export async function diagnose(options: HostOptions = {}): Promise<Finding[]> {
  const host = new Host(options);
  return (await Promise.all(CHECKS.map((check) => findingsOf(check, host)))).flat();
}

async function findingsOf({ id, area, title, source, run }: Check, host: Host): Promise<Finding[]> {
  const results = await run(host).catch((error: Error) => ({
    verdict: 'warn' as const,
    detail: `this check could not be made: ${error.message}`,
  }));
  return [results]
    .flat()
    .map((result) => ({ id, area, title, ...result, ...(source === undefined ? {} : { source }) }));
}
