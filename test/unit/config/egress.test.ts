import { expect, test } from 'vitest';
import { assertEgress } from '../../../ts/config/egress.js';
import { formatAddress, isWithin, parseCidr } from '../../../ts/util/cidr.js';

const allow = (fields: object) => [{ action: 'allow', ...fields }];

test.each([
  ['none'],
  ['internet'],
  [[]],
  [allow({})],
  [allow({ to: '10.0.0.0/8', ports: [22, '80-90'], protocol: 'tcp' })],
  [allow({ to: 'fd00::1' })],
  [allow({ protocol: 'icmp' })],
  [[{ action: 'deny', to: 'any' }]],
])('%j is a policy', (egress) => {
  expect(() => assertEgress(egress)).not.toThrow();
});

test.each<[unknown, string]>([
  ['all', 'egress must be none, internet or an array of rules'],
  [[{ to: 'host' }], 'egress[0].action is required'],
  [allow({ to: 'everything' }), 'egress[0].to must be an address'],
  [allow({ to: '10.0.0.0/33' }), 'egress[0].to must be an address'],
  [allow({ to: '10.0.0.0/8; drop' }), 'egress[0].to must be an address'],
  [allow({ to: 'fd00::%eth0' }), 'egress[0].to must be an address'],
  [allow({ to: 'any' }), "egress[0].to must not be 'any'"],
  [allow({ ports: [0] }), 'egress[0].ports[0] must be a port'],
  [allow({ ports: ['90-80'] }), 'egress[0].ports[0] must be a port'],
  [allow({ ports: [1.5] }), 'egress[0].ports[0] must be a port'],
  [allow({ ports: [] }), 'egress[0].ports must have at least 1 element'],
  [allow({ ports: [1], protocol: 'icmp' }), 'egress[0].ports must be absent'],
  [allow({ to: 'dns', ports: [53] }), 'egress[0] must have neither ports'],
  [allow({ port: 80 }), 'egress[0].port is not a field'],
  [Array(257).fill({ action: 'deny' }), 'egress must have at most 256 rules'],
])('%j is none', (egress, message) => {
  expect(() => assertEgress(egress)).toThrow(message);
});

test.each([
  ['10.1.2.3/8', '10.0.0.0', 8],
  ['0.0.0.0/0', '0.0.0.0', 0],
  ['255.255.255.255', '255.255.255.255', 32],
  ['fd00:0:0::5/64', 'fd00::', 64],
  ['::', '::', 128],
  ['2001:DB8::1:0:0:1', '2001:db8::1:0:0:1', 128],
])('the range %s is that of %s/%i', (text, first, prefix) => {
  const range = parseCidr(text);
  expect(range && { first: formatAddress(range), prefix: range.prefix }).toEqual({ first, prefix });
});

test('a range is within a wider one of its family', () => {
  const within = (inner: string, outer: string) => {
    const [one, other] = [parseCidr(inner), parseCidr(outer)];
    return one && other && isWithin(one, other);
  };
  expect(within('10.1.0.0/16', '10.0.0.0/8')).toBe(true);
  expect(within('10.0.0.0/8', '10.0.0.0/8')).toBe(true);
  expect(within('10.0.0.0/7', '10.0.0.0/8')).toBe(false);
  expect(within('11.0.0.0/16', '10.0.0.0/8')).toBe(false);
  expect(within('::a00:0/104', '10.0.0.0/8')).toBe(false);
});
