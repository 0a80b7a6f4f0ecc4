import { RESTORE_SINCE } from '../ts/config/restore.js';
import { CONFIG_SINCE, type Since } from '../ts/config/since.js';
import { FLAGS_SINCE } from '../ts/vmm/flags.js';

const row = ({ field, values, version }: Since) => {
  const of = values === undefined ? '' : ` of ${values.map((value) => `\`${value}\``).join(' or ')}`;
  return `| \`${field}\`${of} | ${version} |`;
};

/** docs/versions.md: what needs which version of Firecracker. */
export function renderVersions(): string {
  return `# What needs which Firecracker

SmartVM speaks the API of Firecracker 1.17 and works with older ones. What a configuration asks for and the VMM at hand does
not have is refused by \`VMM_TOO_OLD\`, which names both versions, before the VMM is asked; what is not in this table has been
there since 1.0. A development version counts as the release that it leads to.

| Field | Firecracker |
| --- | --- |
${[...CONFIG_SINCE, ...RESTORE_SINCE, ...FLAGS_SINCE].map(row).join('\n')}

This file is written by \`npm run docs\` from the tables in \`ts/config/since.ts\`, \`ts/config/restore.ts\` and \`ts/vmm/flags.ts\`.
`;
}
