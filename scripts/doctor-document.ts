import { CHECKS } from '../ts/doctor/checks.js';
import type { Area } from '../ts/doctor/finding.js';

const AREAS: Readonly<Record<Area, string>> = {
  host: `## The host

What VMs need of the kernel.`,
  tools: `## The programs

The VMMs and what belongs to them.`,
  directories: `## The directories

Where images are kept and VMs run, as \`SMARTVM_DATA_DIR\` and \`SMARTVM_RUNTIME_DIR\` say.`,
  network: `## The network

What stands between VMs and the networks they are in, on the host.`,
  production: `## Production hosts

What Firecracker's developers advise for hosts that several tenants share.`,
  vms: `## The VMs

Every VM below the runtime directory whose keeper answers, and every process that its VMM started. Root sees all of it, other
users see their own.`,
};

function rowsOf(area: Area): string {
  const checks = CHECKS.filter((check) => check.area === area);
  const rows = checks.map(({ id, about, source }) => {
    const link = source === undefined ? '' : ` ([source](${source}))`;
    return `| \`${id}\` | ${about.replaceAll('|', '\\|')}${link} |`;
  });
  return ['| Check | |', '| --- | --- |', ...rows].join('\n');
}

/** docs/doctor.md: what \`smartvm doctor\` looks at. */
export function renderDoctor(): string {
  const areas = Object.entries(AREAS).map(([area, heading]) => `${heading}\n\n${rowsOf(area as Area)}`);
  return `# Doctor

\`smartvm doctor\` looks at the host, at what SmartVM needs of it, and at the wall around the VMs that run. It changes nothing.
Each finding has a verdict, and a remedy where there is one:

| Mark | Verdict | Meaning |
| --- | --- | --- |
| ✓ | \`ok\` | as it should be |
| · | \`info\` | worth knowing, and no fault as things are |
| ! | \`warn\` | it weakens the wall on a host that several tenants share |
| ✗ | \`fail\` | it stops SmartVM from working here, or breaks the wall for anybody |

The exit code is 1 when a finding fails, else 0. With \`--production\` it is 1 for warnings too: what a host should pass before it
runs other people's code. \`--json\` prints one document, \`{ healthy, counts, findings }\`, and a finding is
\`{ id, area, title, verdict, detail, remedy?, source?, vm? }\`; \`id\` and \`verdict\` are for programs and stay, \`detail\` and
\`remedy\` are for people and may change. In code: \`await new SmartVM().doctor()\` gives the findings.

${areas.join('\n\n')}

This file is written by \`npm run docs\` from the tables in \`ts/doctor/checks\`.
`;
}
