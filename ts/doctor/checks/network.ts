import { isSmartVMError } from '../../errors.js';
import { run } from '../../util/run.js';
import { type Check, info, ok, type Result, warn } from '../finding.js';
import type { Host } from '../host.js';
import { BRIDGE_PREFIX, droppingChains, remedyFor } from './firewall.js';

export const NETWORK_CHECKS: readonly Check[] = [
  {
    id: 'nftables',
    area: 'network',
    title: 'nftables',
    about: '`nft` is installed and may list the tables: networks of VMs need it.',
    run: checkNftables,
  },
  {
    id: 'firewall',
    area: 'network',
    title: 'Firewall',
    about:
      "No chain of another firewall (Docker's, ufw's, firewalld's, iptables' or your own) drops what is forwarded for VMs: there, SmartVM's own rules have no say.",
    source: 'https://docs.docker.com/engine/network/packet-filtering-firewalls/',
    run: checkFirewall,
  },
  {
    id: 'ip-forward',
    area: 'network',
    title: 'IP forwarding',
    about:
      'The host forwards IPv4 where there are networks of VMs. SmartVM turns that on with the first; something else may turn it off again.',
    source: 'https://docs.kernel.org/networking/ip-sysctl.html',
    run: checkForwarding,
  },
  {
    id: 'ipv6-router',
    area: 'network',
    title: 'IPv6 routes of the host',
    about:
      "A host that forwards IPv6 keeps a default route that a router told it of only where the interface's `accept_ra` is 2.",
    source: 'https://docs.kernel.org/networking/ip-sysctl.html',
    run: checkRouterAdvertisements,
  },
  {
    id: 'bridge-netfilter',
    area: 'network',
    title: 'Bridge netfilter',
    about:
      "Frames between VMs on one bridge do not go through iptables (`bridge-nf-call-iptables`), whose rules know nothing of them. Docker and Kubernetes turn it on: that is no fault where iptables' FORWARD chain lets them pass.",
    source: 'https://docs.kernel.org/networking/bridge.html',
    run: checkBridgeNetfilter,
  },
  {
    id: 'conntrack',
    area: 'network',
    title: 'Connection tracking',
    about:
      'The table of connections, which VMs and host share, is not nearly full: from then on, new ones are dropped.',
    source: 'https://docs.kernel.org/networking/nf_conntrack-sysctl.html',
    run: checkConnectionTracking,
  },
];

const NFT_TIMEOUT_MS = 5_000;
/** A host with many containers has some hundred KiB of rules. */
const MAX_LISTING_BYTES = 64 << 20;
const NEARLY_FULL = 0.8;
/** Of /proc/net/ipv6_route: the route came from a router's advertisement (RTF_ADDRCONF). */
const ADVERTISED = 0x00040000;
const DEFAULT_ROUTE = /^0{32} 00 /;

async function checkNftables(host: Host): Promise<Result> {
  const nft = await nftOf(host);
  if (nft === undefined) {
    return warn('nft is not installed: VMs get no network', 'apt-get install nftables');
  }
  if (!host.isRoot) {
    return info(`${nft} is installed; only root can use it`);
  }
  try {
    await list(host, nft, 'tables');
    return ok(`${nft} lists the tables`);
  } catch (error) {
    return warn(
      `${nft} cannot list the tables: ${messageOf(error)}`,
      'a kernel with nf_tables, and CAP_NET_ADMIN: modprobe nf_tables',
    );
  }
}

async function checkFirewall(host: Host): Promise<Result | readonly Result[]> {
  const nft = await nftOf(host);
  if (nft === undefined || !host.isRoot) {
    return info(`what other firewalls drop is not to be learnt ${nft ? 'by other users than root' : 'without nft'}`);
  }
  const legacy = await legacyFindings(host);
  try {
    const chains = droppingChains(await list(host, nft, 'ruleset'));
    const found = chains.map((chain) =>
      warn(
        `chain ${chain.chain} of table ${chain.family} ${chain.table}${chain.firewall === 'other' ? '' : ` (${chain.firewall})`} drops what is forwarded: VMs reach nothing beyond this host`,
        remedyFor(chain),
      ),
    );
    const all = [...found, ...legacy];
    return all.length > 0 ? all : ok('no other firewall drops what is forwarded for VMs');
  } catch (error) {
    return info(`what other firewalls drop is not to be learnt: ${messageOf(error)}`);
  }
}

/** Of iptables before it was made of nftables, which has rules that nft does not see. */
async function legacyFindings(host: Host): Promise<Result[]> {
  const tools = [
    ['/proc/net/ip_tables_names', 'iptables-legacy'],
    ['/proc/net/ip6_tables_names', 'ip6tables-legacy'],
  ] as const;
  const results = await Promise.all(
    tools.map(async ([names, tool]): Promise<Result[]> => {
      const hasFilter = (await host.read(names))?.split('\n').includes('filter');
      const path = hasFilter ? await find(host, tool) : undefined;
      const rules = path && (await run(host.at(path), ['-S', 'FORWARD'], limits()).catch(() => undefined));
      const text = rules?.toString() ?? '';
      return text.includes('-P FORWARD DROP') && !text.includes(` ${BRIDGE_PREFIX}`)
        ? [
            warn(
              `the FORWARD chain of ${tool} drops what is forwarded: VMs reach nothing beyond this host`,
              `${tool} -I FORWARD -i ${BRIDGE_PREFIX}+ -j ACCEPT; ${tool} -I FORWARD -o ${BRIDGE_PREFIX}+ -j ACCEPT`,
            ),
          ]
        : [];
    }),
  );
  return results.flat();
}

async function checkForwarding(host: Host): Promise<Result> {
  const [forwards, links] = await Promise.all([
    host.read('/proc/sys/net/ipv4/ip_forward'),
    host.list('/sys/class/net'),
  ]);
  const bridges = links.filter((name) => name.startsWith(BRIDGE_PREFIX));
  if (forwards === '1') {
    return ok('on');
  }
  return bridges.length > 0
    ? warn(
        `off, and there are networks of VMs (${bridges.join(', ')}): they reach nothing`,
        'sysctl -w net.ipv4.ip_forward=1',
      )
    : info('off: SmartVM turns it on with the first network');
}

async function checkRouterAdvertisements(host: Host): Promise<Result> {
  const [forwards, routes = ''] = await Promise.all([
    host.read('/proc/sys/net/ipv6/conf/all/forwarding'),
    host.read('/proc/net/ipv6_route'),
  ]);
  const advertised = routes.split('\n').filter((line) => DEFAULT_ROUTE.test(line) && isAdvertised(line));
  const devices = [...new Set(advertised.map((line) => line.trim().split(/\s+/).at(-1) ?? ''))];
  const settings = await Promise.all(
    devices.map(async (name) => ({ name, value: await host.read(`/proc/sys/net/ipv6/conf/${name}/accept_ra`) })),
  );
  const losing = settings.filter(({ value }) => value === '1').map(({ name }) => name);
  if (losing.length === 0) {
    return ok('no default route depends on it');
  }
  const remedy = losing.map((name) => `sysctl -w net.ipv6.conf.${name}.accept_ra=2`).join('; ');
  const what = `the default route over ${losing.join(', ')} is a router's word`;
  return forwards === '1'
    ? warn(`${what}, which a host that forwards IPv6 does not hear any more: it is about to expire`, remedy)
    : warn(`${what}: it expires once SmartVM forwards IPv6`, remedy);
}

function isAdvertised(line: string): boolean {
  return (Number.parseInt(line.trim().split(/\s+/)[8] ?? '', 16) & ADVERTISED) !== 0;
}

async function checkBridgeNetfilter(host: Host): Promise<Result> {
  const values = await Promise.all(
    ['iptables', 'ip6tables'].map((tool) => host.read(`/proc/sys/net/bridge/bridge-nf-call-${tool}`)),
  );
  return values.includes('1')
    ? info(
        "frames between VMs on one bridge go through iptables' FORWARD chain too",
        'where nothing else needs it: sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0',
      )
    : ok('off');
}

async function checkConnectionTracking(host: Host): Promise<Result> {
  const [count, max] = await Promise.all(
    ['count', 'max'].map(async (name) => Number(await host.read(`/proc/sys/net/netfilter/nf_conntrack_${name}`))),
  );
  if (!count || !max) {
    return ok('no connection is tracked');
  }
  const detail = `${count} of ${max} connections are tracked`;
  return count > max * NEARLY_FULL
    ? warn(
        `${detail}: when there is no place left, new ones are dropped`,
        `sysctl -w net.netfilter.nf_conntrack_max=${max * 2}`,
      )
    : ok(detail);
}

async function list(host: Host, nft: string, what: 'tables' | 'ruleset'): Promise<string> {
  return (
    await run(host.at(nft), what === 'tables' ? ['list', what] : ['-j', '-t', 'list', what], limits())
  ).toString();
}

function limits() {
  return { signal: AbortSignal.timeout(NFT_TIMEOUT_MS), maxOutputBytes: MAX_LISTING_BYTES };
}

export const nftOf = (host: Host) => find(host, 'nft');

/** Also where an ordinary user's PATH does not lead. */
async function find(host: Host, tool: string): Promise<string | undefined> {
  return (await host.which(tool)) ?? ((await host.isExecutable(`/usr/sbin/${tool}`)) ? `/usr/sbin/${tool}` : undefined);
}

export function messageOf(error: unknown): string {
  return isSmartVMError(error) ? error.message : String(error);
}
