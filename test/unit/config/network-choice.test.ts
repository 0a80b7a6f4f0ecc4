import { describe, expect, it } from 'vitest';
import { networkPlanOf } from '../../../ts/config/network-choice.js';
import { isSmartVMError } from '../../../ts/errors.js';

const tcp = { hostPort: 8080, guestPort: 80, protocol: 'tcp' };

describe('what a launch says of networks', () => {
  it('is no network, where it is nothing', () => {
    expect(networkPlanOf({})).toEqual({ networks: [], publish: [] });
    expect(networkPlanOf({ network: 'none' })).toEqual({ networks: [], publish: [] });
  });

  it.each([
    ['publish', { publish: ['8080:80'] }, {}, [tcp]],
    ['egress', { egress: 'none' }, { egress: 'none' }, []],
    ['dns', { dns: ['1.1.1.1'] }, { dns: ['1.1.1.1'] }, []],
    ['ip', { ip: 'fd00::9' }, { ipv6: 'fd00::9' }, []],
  ] as const)('is the default network, where %s is said', (_name, options, request, publish) => {
    const { networks, ...rest } = networkPlanOf(options);
    expect(networks).toEqual([{ network: 'default', ifaceId: 'eth0', ...request }]);
    expect(rest).toEqual({ publish });
  });

  it('is an interface in each network, of which the first has the addresses', () => {
    const { networks } = networkPlanOf({
      network: ['front', { network: 'back', ifaceId: 'eth0', egress: 'none' }, { mac: '02:00:00:00:00:01' }],
      ip: ['10.0.0.9', 'fd00::9'],
      egress: 'internet',
    });
    expect(networks).toEqual([
      { network: 'front', ifaceId: 'eth1', ipv4: '10.0.0.9', ipv6: 'fd00::9', egress: 'internet' },
      { network: 'back', ifaceId: 'eth0', egress: 'none' },
      { ifaceId: 'eth2', mac: '02:00:00:00:00:01', egress: 'internet' },
    ]);
  });

  it.each([
    ['a name that is none', { network: '../x' }],
    ['no name', { network: [] }],
    ['none and more', { network: ['none', 'default'] }],
    ['none and ports', { network: 'none', publish: ['80'] }],
    ['none and an address', { network: 'none', ip: '10.0.0.1' }],
    ['one interface twice', { network: [{ ifaceId: 'a' }, { ifaceId: 'a' }] }],
    ['a field that there is not', { network: { subnet: '10.0.0.0/8' } }],
    ['a MAC address of a group', { network: { mac: '03:00:00:00:00:01' } }],
    ['an IPv6 address as IPv4', { network: { ipv4: 'fd00::1' } }],
    ['an address that is none', { ip: 'localhost' }],
    ['two addresses of one version', { ip: ['10.0.0.1', '10.0.0.2'] }],
    ['a name as name server', { dns: ['resolver.example'] }],
    ['four name servers', { dns: ['1.1.1.1', '1.1.1.2', '1.1.1.3', '1.1.1.4'] }],
    ['a policy that is none', { egress: 'all' }],
    ['a port that is none', { publish: ['80:http'] }],
    ['one port twice', { publish: ['80:80', '80:81'] }],
  ])('is refused with %s', (_what, options) => {
    expect(() => networkPlanOf(options as object)).toThrow(
      expect.toSatisfy((error) => isSmartVMError(error, 'INVALID_OPTION')),
    );
  });
});
