import { DIRECTORY_CHECKS } from './checks/directories.js';
import { HOST_CHECKS } from './checks/host.js';
import { NETWORK_CHECKS } from './checks/network.js';
import { NETWORK_RULES } from './checks/network-rules.js';
import { PROCESSOR_CHECKS } from './checks/processor.js';
import { PRODUCTION_CHECKS } from './checks/production.js';
import { TOOL_CHECKS } from './checks/tools.js';
import { VM_CHECKS } from './checks/vms.js';
import type { Check } from './finding.js';

/** All that `smartvm doctor` looks at; docs/doctor.md is this table in print. */
export const CHECKS: readonly Check[] = [
  ...HOST_CHECKS,
  ...TOOL_CHECKS,
  ...DIRECTORY_CHECKS,
  ...NETWORK_CHECKS,
  NETWORK_RULES,
  ...PROCESSOR_CHECKS,
  ...PRODUCTION_CHECKS,
  ...VM_CHECKS,
];
