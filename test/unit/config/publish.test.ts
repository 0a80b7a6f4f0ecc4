import { expect, test } from 'vitest';
import { formatPublish, type PublishedPort, parsePublish, publishedPorts } from '../../../ts/config/publish.js';

const tcp = (hostPort: number, guestPort: number, hostIp?: string): PublishedPort => ({
  ...(hostIp === undefined ? {} : { hostIp }),
  hostPort,
  guestPort,
  protocol: 'tcp',
});

test.each<[string, PublishedPort[]]>([
  ['80', [tcp(0, 80)]],
  ['8080:80', [tcp(8080, 80)]],
  ['8080:80/tcp', [tcp(8080, 80)]],
  ['127.0.0.1:0:5432', [tcp(0, 5432, '127.0.0.1')]],
  ['127.0.0.1::5432', [tcp(0, 5432, '127.0.0.1')]],
  ['[0:0::1]:8080:80', [tcp(8080, 80, '::1')]],
  ['5353:53/udp', [{ hostPort: 5353, guestPort: 53, protocol: 'udp' }]],
  ['8000-8001:90-91', [tcp(8000, 90), tcp(8001, 91)]],
  ['0:90-91', [tcp(0, 90), tcp(0, 91)]],
])('%s publishes ports', (text, ports) => {
  expect(parsePublish(text)).toEqual(ports);
  expect(ports.flatMap((port) => parsePublish(formatPublish(port)))).toEqual(ports);
});

test.each([
  '',
  ':',
  '0',
  '8080:0',
  '65536:80',
  '80:65536',
  '-1:80',
  '8080:80/sctp',
  '127.0.0.1:5432',
  '256.0.0.1:1:2',
  '::1:8080:80',
  '[127.0.0.1:1:2',
  '8000-8001:90',
  '91-90',
  '1-300:1-300',
  ' 80:80',
  '80:80\n',
])('%j publishes nothing', (text) => {
  expect(() => parsePublish(text)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
});

test.each([[['8080:80', '8080:81']], [['8080:80', '127.0.0.1:8080:81']], [['0.0.0.0:8080:80', '127.0.0.1:8080:81']]])(
  '%j are in the way of each other',
  (specs) => {
    expect(() => publishedPorts(specs)).toThrow('is the same as publish[0]');
  },
);

test('ports stand beside those of another address, protocol or family, and any that are free', () => {
  const specs = ['127.0.0.1:80:80', '127.0.0.2:80:80', '80:80/udp', '[::]:80:80', '0:1', '0:2'];
  expect(publishedPorts(specs)).toHaveLength(specs.length);
});
