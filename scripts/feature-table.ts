import { type Feature, type Support, VMM_FEATURES } from '../ts/vmm/features.js';

const WORDS: Readonly<Record<Support, string>> = {
  full: 'yes',
  differs: 'yes, but',
  accepted: 'accepted, without effect',
  none: 'no',
};

/** docs/vmm.md: what the two VMMs can do. */
export function renderFeatureTable(): string {
  const features: readonly Feature[] = Object.values(VMM_FEATURES);
  const rows = features.map(({ name, qemu, note }) => `| ${name} | ${WORDS[qemu]} | ${note} |`);
  return `# The two VMMs

SmartVM drives an executable that speaks Firecracker's API on a Unix socket: Firecracker itself, where KVM can run guests, and \`smartvm-qemu\`, which runs
QEMU behind the same API, with KVM or without. Requests get the same statuses and the same fault messages from both; \`test/integration/conformance.test.ts\`
compares them, with a recording of a real Firecracker and with one another.

What \`smartvm-qemu\` makes of Firecracker's features:

| Feature | smartvm-qemu | |
| --- | --- | --- |
${rows.join('\n')}

This file is written by \`npm run docs\` from the table in \`ts/vmm/features.ts\`.
`;
}
