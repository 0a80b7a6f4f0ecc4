import { describe, expect, it } from 'vitest';
import { portsInWords } from '../../../../ts/cli/vms/networks.js';

describe('published ports', () => {
  it.each([
    [[], ''],
    [[{ hostPort: 8080, guestPort: 80, protocol: 'tcp' }], '8080->80/tcp'],
    [
      [
        { hostIp: '127.0.0.1', hostPort: 5432, guestPort: 5432, protocol: 'tcp' },
        { hostIp: '::1', hostPort: 8053, guestPort: 53, protocol: 'udp' },
      ],
      '127.0.0.1:5432->5432/tcp, [::1]:8053->53/udp',
    ],
  ] as const)('%j are told as %j', (ports, words) => {
    expect(portsInWords(ports)).toBe(words);
  });
});
