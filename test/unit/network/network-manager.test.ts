import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isValidInterfaceName } from '../../../ts/config/ids.js';
import { formatIpv4, parseIpv4 } from '../../../ts/network/ipv4.js';
import { NetworkManager } from '../../../ts/network/network-manager.js';

const exhausted = expect.objectContaining({ code: 'IP_EXHAUSTED' });
const id = fc.oneof(fc.string({ unit: 'binary', maxLength: 80 }), fc.constantFrom('a', 'a"', '","', 'a,b'));

function allocateAll(manager: NetworkManager, count: number): string[] {
  return Array.from({ length: count }, () => manager.allocateIp());
}

describe('the subnet', () => {
  test('has defaults', () => {
    const { subnet, bridgeName, gatewayIp, subnetMask, prefixLength } = new NetworkManager();
    expect({ subnet, bridgeName, gatewayIp, subnetMask, prefixLength }).toEqual({
      subnet: '172.30.0.0/24',
      bridgeName: 'svbr0',
      gatewayIp: '172.30.0.1',
      subnetMask: '255.255.255.0',
      prefixLength: 24,
    });
  });

  test('drops host bits', () => {
    const manager = new NetworkManager({ subnet: '10.20.30.17/29', bridgeName: 'br-lan' });
    expect(manager.subnet).toBe('10.20.30.16/29');
    expect(manager.gatewayIp).toBe('10.20.30.17');
    expect(manager.subnetMask).toBe('255.255.255.248');
    expect(manager.bridgeName).toBe('br-lan');
  });

  test.each(['', '10.0.0.0/31', 'x', null, 24, ['10.0.0.0/24']])('is not %j', (subnet) => {
    expect(() => new NetworkManager({ subnet: subnet as string })).toThrow(
      expect.objectContaining({ code: 'INVALID_SUBNET' }),
    );
  });

  test.each(['', 'bad bridge', 'x'.repeat(16), null, 1])('has no bridge called %j', (bridgeName) => {
    expect(() => new NetworkManager({ bridgeName: bridgeName as string })).toThrow(
      expect.objectContaining({ code: 'INVALID_INTERFACE_NAME' }),
    );
  });
});

describe('allocateIp()', () => {
  test('gives every guest address once, in order, and then says that there is none', () => {
    const host = fc.integer({ min: 0, max: 2 ** 32 - 1 });
    fc.assert(
      fc.property(host, fc.integer({ min: 24, max: 30 }), (address, prefix) => {
        const manager = new NetworkManager({ subnet: `${formatIpv4(address)}/${prefix}` });
        const first = (parseIpv4(manager.gatewayIp) ?? 0) + 1;
        const size = 2 ** (32 - prefix) - 3;
        const expected = Array.from({ length: size }, (_, index) => formatIpv4(first + index));
        expect(allocateAll(manager, size)).toEqual(expected);
        expect(() => manager.allocateIp()).toThrow(exhausted);
      }),
    );
  });

  test('never has one address out twice, whatever is released', () => {
    const steps = fc.array(fc.oneof(fc.constant('allocate' as const), fc.nat(12)), { maxLength: 60 });
    fc.assert(
      fc.property(steps, (sequence) => {
        const manager = new NetworkManager({ subnet: '10.0.0.0/29' });
        const out: string[] = [];
        for (const step of sequence) {
          if (step !== 'allocate') {
            const [released] = out.splice(step, 1);
            expect(released === undefined || manager.releaseIp(released)).toBe(true);
          } else if (out.length === 5) {
            expect(() => manager.allocateIp()).toThrow(exhausted);
          } else {
            const ip = manager.allocateIp();
            expect(out).not.toContain(ip);
            out.push(ip);
          }
        }
      }),
    );
  });

  test('does not hand a released address out before the others had their turn', () => {
    const manager = new NetworkManager({ subnet: '10.0.0.0/29' });
    expect(allocateAll(manager, 2)).toEqual(['10.0.0.2', '10.0.0.3']);
    expect(manager.releaseIp('10.0.0.2')).toBe(true);
    expect(allocateAll(manager, 4)).toEqual(['10.0.0.4', '10.0.0.5', '10.0.0.6', '10.0.0.2']);
  });

  test.each(['10.0.0.2', '10.0.0.1', '1.1.1.1', 'x', ''])('has nothing to take back for %j', (ip) => {
    expect(new NetworkManager({ subnet: '10.0.0.0/29' }).releaseIp(ip)).toBe(false);
  });
});

describe('names', () => {
  const manager = new NetworkManager();

  test('a MAC is stable, locally administered and unicast', () => {
    fc.assert(
      fc.property(id, id, (vm, iface) => {
        const mac = manager.generateMac(vm, iface);
        expect(mac).toMatch(/^02(:[0-9a-f]{2}){5}$/);
        expect(new NetworkManager({ subnet: '10.0.0.0/8' }).generateMac(vm, iface)).toBe(mac);
      }),
    );
  });

  test('a TAP name is stable and fits the kernel', () => {
    fc.assert(
      fc.property(id, id, (vm, iface) => {
        const name = manager.generateTapName(vm, iface);
        expect(name).toMatch(/^sv/);
        expect(isValidInterfaceName(name)).toBe(true);
        expect(new NetworkManager({ bridgeName: 'other0' }).generateTapName(vm, iface)).toBe(name);
      }),
    );
  });

  test('two interfaces have two MACs and two TAPs', () => {
    fc.assert(
      fc.property(fc.tuple(id, id), fc.tuple(id, id), (one, other) => {
        fc.pre(one[0] !== other[0] || one[1] !== other[1]);
        expect(manager.generateMac(...one)).not.toBe(manager.generateMac(...other));
        expect(manager.generateTapName(...one)).not.toBe(manager.generateTapName(...other));
      }),
    );
  });

  test('ids that share a long prefix, and pairs that join to one string, differ', () => {
    const long = 'a'.repeat(63);
    expect(manager.generateTapName(`${long}1`, 'eth0')).not.toBe(manager.generateTapName(`${long}2`, 'eth0'));
    expect(manager.generateMac('vm1', '1eth')).not.toBe(manager.generateMac('vm11', 'eth'));
    expect(manager.generateMac('a","b', 'c')).not.toBe(manager.generateMac('a', 'b","c'));
  });

  test('the boot argument is the one that the kernel reads', () => {
    const tap = { tapName: 'sv0', guestIp: '10.0.0.2', gatewayIp: '10.0.0.1', subnetMask: '255.0.0.0', mac: '' };
    expect(manager.getGuestNetworkBootArgs(tap)).toBe('ip=10.0.0.2::10.0.0.1:255.0.0.0::eth0:off');
  });
});
