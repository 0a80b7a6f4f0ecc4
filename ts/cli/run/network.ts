import { droppingChains, remedyFor } from '../../doctor/checks/firewall.js';
import { isSmartVMError, type SmartVMError } from '../../errors.js';
import type { LaunchOptions } from '../../launch.js';
import type { SmartVM } from '../../smartvm.js';
import { run } from '../../util/run.js';
import type { MicroVM } from '../../vm/micro-vm.js';
import { reportNotice } from '../report.js';

/** Of a host, a user or a VMM that has no networks for VMs. When a launch fails with one of them, nothing of the VM has run. */
const NO_NETWORKS: readonly string[] = [
  'INTERFACE_TAKEN',
  'NETWORKS_ELSEWHERE',
  'NETWORK_FAILED',
  'NETWORK_UNSUPPORTED',
  'NET_ADMIN_MISSING',
  'SUBNET_OVERLAPS',
];
const NETWORK_TOOLS: readonly unknown[] = ['ip', 'nft'];
const NFT_TIMEOUT_MS = 5_000;
const MAX_LISTING_BYTES = 64 << 20;

/**
 * Launches a VM. Where nothing is said of networks it is in the one that `SMARTVM_NETWORK` names, by default in `default`; on a host that
 * has none for it, it is in none, and a line says why.
 */
export async function launchInNetwork(smartvm: Pick<SmartVM, 'launch'>, options: LaunchOptions): Promise<MicroVM> {
  const { network, publish, egress, dns, ip } = options;
  if ([network, publish, egress, dns, ip].some((said) => said !== undefined)) {
    return await smartvm.launch(options);
  }
  const chosen = process.env.SMARTVM_NETWORK || 'default';
  try {
    const vm = await smartvm.launch({ ...options, network: chosen });
    void tellOfFirewalls(vm);
    return vm;
  } catch (error) {
    if (!isForWantOfNetworks(error)) {
      throw error;
    }
    reportNotice(`the VM is in no network: ${error.message} (to be in none without this line: --network none)`);
    return await smartvm.launch({ ...options, network: 'none' });
  }
}

function isForWantOfNetworks(error: unknown): error is SmartVMError {
  return (
    isSmartVMError(error) &&
    (NO_NETWORKS.includes(error.code) || (error.code === 'TOOL_MISSING' && NETWORK_TOOLS.includes(error.details?.tool)))
  );
}

/** What other firewalls drop, SmartVM's own rules cannot let through. Nobody waits for this. */
async function tellOfFirewalls({ network }: MicroVM): Promise<void> {
  try {
    const interfaces = await network.interfaces();
    if (interfaces.length === 0) {
      return;
    }
    const limits = { signal: AbortSignal.timeout(NFT_TIMEOUT_MS), maxOutputBytes: MAX_LISTING_BYTES };
    const [chain] = droppingChains((await run('nft', ['-j', '-t', 'list', 'ruleset'], limits)).toString());
    if (chain) {
      reportNotice(
        `chain ${chain.chain} of table ${chain.family} ${chain.table} drops what is forwarded: the VM reaches nothing beyond this host; what helps: ${remedyFor(chain)}`,
      );
    }
  } catch {
    // The VM runs; smartvm doctor says what is to be said of nft.
  }
}
