import { describe, expect, test } from 'vitest';
import { droppingChains } from '../../../ts/doctor/checks/firewall.js';
import { type Fault, IS_ROOT, plant, remove, testFaults } from '../../support/planted-fault.js';
import type { PlantedHost } from '../../support/planted-host.js';

const forward = (table: string, name: string, family = 'ip') => ({
  chain: { family, table, name, type: 'filter', hook: 'forward', prio: 0, policy: 'drop' },
});
const chain = (table: string, name: string, family = 'ip') => ({ chain: { family, table, name } });
const accept = (table: string, name: string) => ({
  rule: {
    ...{ family: 'ip', table, chain: name },
    expr: [{ match: { op: '==', left: { meta: { key: 'iifname' } }, right: 'svb*' } }, { accept: null }],
  },
});

const listing = (...objects: object[]) =>
  JSON.stringify({ nftables: [{ metainfo: { version: '1.0.6' } }, ...objects] });

/** An nft that lists these objects. */
const ruleset =
  (...objects: object[]) =>
  (host: PlantedHost) =>
    host.program('nft', `cat <<'END'\n${listing(...objects)}\nEND`);

describe('chains that drop what is forwarded', () => {
  test.each([
    ['none, where there are no rules', []],
    ["SmartVM's own", [forward('smartvm', 'forward', 'inet')]],
    ["a bridge's, through which only neighbours' frames go", [forward('filter', 'FORWARD', 'bridge')]],
    ['one that accepts', [{ chain: { ...forward('filter', 'FORWARD').chain, policy: 'accept' } }]],
    ['one that has been seen to', [forward('filter', 'FORWARD'), accept('filter', 'DOCKER-USER')]],
  ])('are not %s', (_what, objects) => {
    expect(droppingChains(listing(...objects))).toEqual([]);
  });

  test('are not made better by a rule of another table', () => {
    expect(droppingChains(listing(forward('filter', 'FORWARD'), accept('other', 'FORWARD')))).toHaveLength(1);
  });
});

const FAULTS: Fault[] = [
  {
    what: 'no nft',
    id: 'nftables',
    plant: remove('/usr/bin/nft'),
    verdict: 'warn',
    detail: /not installed/,
    remedy: /apt-get install nftables/,
  },
  {
    what: 'a default route that a router told of',
    id: 'ipv6-router',
    plant: async (host) => {
      const route = `${'0'.repeat(32)} 00 ${'0'.repeat(32)} 00 ${'fe80'.padEnd(32, '0')} 00000400 00000001 00000000 00450003 ens3`;
      await host.plant('/proc/net/ipv6_route', `${route}\n`);
      await host.plant('/proc/sys/net/ipv6/conf/all/forwarding', '1\n');
      await host.plant('/proc/sys/net/ipv6/conf/ens3/accept_ra', '1\n');
    },
    verdict: 'warn',
    detail: /over ens3 .*about to expire/,
    remedy: /net\.ipv6\.conf\.ens3\.accept_ra=2/,
  },
  {
    what: 'a network and no forwarding',
    id: 'ip-forward',
    plant: async (host) => {
      await host.plant('/proc/sys/net/ipv4/ip_forward', '0\n');
      await host.directory('/sys/class/net/svbr0', 0o755);
    },
    verdict: 'warn',
    detail: /svbr0.*they reach nothing/,
    remedy: /net\.ipv4\.ip_forward=1/,
  },
  {
    what: 'neither a network nor forwarding',
    id: 'ip-forward',
    plant: plant('/proc/sys/net/ipv4/ip_forward', '0\n'),
    verdict: 'info',
    detail: /^off/,
  },
  {
    what: 'bridges under iptables',
    id: 'bridge-netfilter',
    plant: plant('/proc/sys/net/bridge/bridge-nf-call-ip6tables', '1\n'),
    verdict: 'info',
    detail: /FORWARD/,
    remedy: /bridge-nf-call-ip6tables=0/,
  },
  {
    what: 'a full table of connections',
    id: 'conntrack',
    plant: async (host) => {
      await host.plant('/proc/sys/net/netfilter/nf_conntrack_count', '900\n');
      await host.plant('/proc/sys/net/netfilter/nf_conntrack_max', '1000\n');
    },
    verdict: 'warn',
    detail: /900 of 1000/,
    remedy: /nf_conntrack_max=2000/,
  },
];

/** An interface of a VM, with its bridge, as programs of the host keep it. */
const attach = async (host: PlantedHost, ...links: string[]) => {
  const record = { holder: { id: 'web' }, definition: { name: 'blue', bridge: 'svb1' }, wire: { tapName: 'sv1' } };
  await host.plant('/run/smartvm/.networks/attachments/sv1.json', JSON.stringify(record));
  await Promise.all(links.map((link) => host.directory(`/sys/class/net/${link}`, 0o755)));
};
const portSet = (elem: string[]) => ({ set: { family: 'bridge', table: 'smartvm', name: 'ports', elem } });
const withPorts = (...elem: string[]) => listing(portSet(elem));
const ports = (...elem: string[]) => ruleset(portSet(elem));

const FAULTS_OF_ROOT: Fault[] = [
  {
    what: 'rules that are no more',
    id: 'network-rules',
    plant: async (host) => {
      await attach(host, 'sv1', 'svb1');
      await host.program('nft', 'case "$*" in *ports*) echo "No such file or directory" >&2; exit 1; esac');
    },
    verdict: 'fail',
    detail: /rules of web: nothing holds/,
    remedy: /^smartvm network inspect blue$/,
  },
  {
    what: 'a bridge that is no more',
    id: 'network-rules',
    plant: async (host) => {
      await attach(host, 'sv1');
      await ports('sv1')(host);
    },
    verdict: 'warn',
    detail: /bridge of web: they reach nothing/,
    remedy: /^smartvm network inspect blue$/,
  },
  {
    what: 'an interface that is no more',
    id: 'network-rules',
    plant: async (host) => {
      await attach(host, 'svb1');
      await ports('sv1')(host);
    },
    verdict: 'warn',
    detail: /interfaces of web: they are cut off/,
    remedy: /start these VMs anew/,
  },
  {
    what: 'an nft that gives no answer',
    id: 'network-rules',
    plant: async (host) => {
      await attach(host, 'sv1', 'svb1');
      await host.program('nft', 'case "$*" in *ports*) echo "Device or resource busy" >&2; exit 1; esac');
    },
    verdict: 'info',
    detail: /not to be learnt: .*Device or resource busy/,
  },
  {
    what: 'a VM whose start is not through',
    id: 'network-rules',
    plant: async (host) => {
      await attach(host, 'svb1');
      const link = host.at('/sys/class/net/sv1');
      const later = `[ -e ${link} ] && echo '${withPorts('sv1')}' || { echo '${withPorts()}'; mkdir ${link}; }`;
      await host.program('nft', `case "$*" in *ports*) ${later};; esac`);
    },
    verdict: 'ok',
    detail: /in place for web/,
  },
  {
    what: 'a VM that has ended meanwhile',
    id: 'network-rules',
    plant: async (host) => {
      await attach(host, 'svb1');
      const record = host.at('/run/smartvm/.networks/attachments/sv1.json');
      await host.program('nft', `case "$*" in *ports*) echo '${withPorts()}'; rm -f ${record};; esac`);
    },
    verdict: 'ok',
    detail: /in place for web/,
  },
  {
    what: 'rules in place',
    id: 'network-rules',
    plant: async (host) => {
      await attach(host, 'sv1', 'svb1');
      await ports('sv0', 'sv1')(host);
    },
    verdict: 'ok',
    detail: /in place for web/,
  },
  {
    what: 'Docker',
    id: 'firewall',
    plant: ruleset(forward('filter', 'FORWARD'), chain('filter', 'DOCKER-USER')),
    verdict: 'warn',
    detail: /chain FORWARD of table ip filter \(docker\)/,
    remedy: /^iptables -I DOCKER-USER -i svb\+ -j ACCEPT; iptables -I DOCKER-USER -o svb\+ -j ACCEPT$/,
  },
  {
    what: 'ufw',
    id: 'firewall',
    plant: ruleset(forward('filter', 'FORWARD', 'ip6'), chain('filter', 'ufw6-user-forward', 'ip6')),
    verdict: 'warn',
    detail: /\(ufw\)/,
    remedy: /ufw route allow in on/,
  },
  {
    what: 'firewalld',
    id: 'firewall',
    plant: ruleset(forward('firewalld', 'filter_FORWARD', 'inet')),
    verdict: 'warn',
    detail: /\(firewalld\)/,
    remedy: /firewall-cmd .*--zone=trusted/,
  },
  {
    what: 'rules of the user',
    id: 'firewall',
    plant: ruleset(forward('mine', 'routed', 'inet')),
    verdict: 'warn',
    detail: /chain routed of table inet mine drops/,
    remedy: /nft insert rule inet mine routed iifname '"svb\*"' accept/,
  },
  {
    what: 'iptables of before nftables',
    id: 'firewall',
    plant: async (host) => {
      await host.plant('/proc/net/ip_tables_names', 'nat\nfilter\n');
      await host.program('iptables-legacy', 'echo "-P FORWARD DROP"');
    },
    verdict: 'warn',
    detail: /FORWARD chain of iptables-legacy/,
    remedy: /^iptables-legacy -I FORWARD -i svb\+/,
  },
  {
    what: 'an nft that says what nobody understands',
    id: 'firewall',
    plant: (host) => host.program('nft', 'echo "{"'),
    verdict: 'info',
    detail: /not to be learnt/,
  },
];

describe('the network of a host', () => {
  testFaults(FAULTS);
  testFaults(FAULTS_OF_ROOT, IS_ROOT);
});
