import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatIpv4, parseIpv4, parseSubnet } from '../../../ts/network/ipv4.js';

const address = fc.integer({ min: 0, max: 2 ** 32 - 1 });

describe('IPv4 addresses', () => {
  test('are read as they are written', () => {
    fc.assert(fc.property(address, (value) => void expect(parseIpv4(formatIpv4(value))).toBe(value)));
    expect(parseIpv4('172.30.0.1')).toBe(0xac1e0001);
    expect(formatIpv4(0xffffff00)).toBe('255.255.255.0');
  });

  test.each(['', '1.2.3', '1.2.3.4.5', '1..2.3', '256.0.0.1', '01.2.3.4', '1.2.3.4 ', '0x1.2.3.4', '1.2.3.-4', '::1'])(
    '%j is none',
    (text) => expect(parseIpv4(text)).toBeUndefined(),
  );
});

describe('subnets', () => {
  test('hold the address they were made from', () => {
    fc.assert(
      fc.property(address, fc.integer({ min: 8, max: 30 }), (host, prefix) => {
        const subnet = parseSubnet(`${formatIpv4(host)}/${prefix}`);
        expect(subnet?.prefix).toBe(prefix);
        const { network = -1, broadcast = -1, mask = -1 } = subnet ?? {};
        expect(network).toBeLessThanOrEqual(host);
        expect(host).toBeLessThanOrEqual(broadcast);
        expect(broadcast - network + 1).toBe(2 ** (32 - prefix));
        expect(network % 2 ** (32 - prefix)).toBe(0);
        expect(mask + (broadcast - network)).toBe(2 ** 32 - 1);
      }),
    );
  });

  test.each([
    ...['', '10.0.0.0', '10.0.0.0/', '10.0.0.0/7', '10.0.0.0/31', '10.0.0.0/32', '10.0.0.0/08', '10.0.0.0/+8'],
    ...['10.0.0.0/24 ', ' 10.0.0.0/24', '10.0.0.0/24\n', '10.0.0.0/2a', '10..0.1/24', '10.0x10.0.1/24', 'fd00::/64'],
  ])('%j is none', (text) => expect(parseSubnet(text)).toBeUndefined());
});
