import { describe, expect, test } from 'vitest';
import { AddressRefused, guardedLookup, isWithin, reachOf, reachOfHost, wider } from '../../../ts/util/http/reach.js';

describe('reachOf', () => {
  test.each([
    ['8.8.8.8', 'public'],
    ['172.15.255.255', 'public'],
    ['172.32.0.1', 'public'],
    ['2606:4700::1', 'public'],
    ['::ffff:8.8.8.8', 'public'],
    ['64:ff9b::8.8.8.8', 'public'],
    ['10.0.0.1', 'private'],
    ['172.16.0.1', 'private'],
    ['192.168.1.1', 'private'],
    ['100.64.0.1', 'private'],
    ['fd12::1', 'private'],
    ['::ffff:10.0.0.1', 'private'],
    ['64:ff9b::10.0.0.1', 'private'],
    ['169.254.169.254', 'link-local'],
    ['fe80::1', 'link-local'],
    ['fe80::1%eth0', 'link-local'],
    ['127.0.0.1', 'loopback'],
    ['127.255.0.1', 'loopback'],
    ['0.0.0.0', 'loopback'],
    ['::1', 'loopback'],
    ['::', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['64:ff9b::7f00:1', 'loopback'],
  ])('%s is %s', (address, reach) => {
    expect(reachOf(address)).toBe(reach);
  });
});

describe('reachOfHost', () => {
  test.each([
    ['localhost', 'loopback'],
    ['a.localhost.', 'loopback'],
    ['[::1]', 'loopback'],
    ['10.0.0.1', 'private'],
    ['example.com', undefined],
    ['localhost.example.com', undefined],
  ])('%s is %s', (host, reach) => {
    expect(reachOfHost(host)).toBe(reach);
  });
});

test('a wider network may not send to a narrower one', () => {
  expect(isWithin('public', 'public')).toBe(true);
  expect(isWithin('public', 'loopback')).toBe(true);
  expect(isWithin('private', 'public')).toBe(false);
  expect(isWithin('loopback', 'private')).toBe(false);
  expect(wider('loopback', 'private')).toBe('private');
  expect(wider('public', 'private')).toBe('public');
});

describe('guardedLookup', () => {
  const look = (allows: boolean, all: boolean) =>
    new Promise<unknown[]>((resolve) => guardedLookup(() => allows)('localhost', { all }, (...got) => resolve(got)));

  test('gives addresses that may be gone to', async () => {
    expect(await look(true, true)).toEqual([null, expect.arrayContaining([expect.objectContaining({ family: 4 })])]);
    expect(await look(true, false)).toEqual([null, expect.any(String), expect.any(Number)]);
  });

  test('and says what it has found where there is none', async () => {
    const [error] = await look(false, true);
    expect(error).toBeInstanceOf(AddressRefused);
    expect((error as Error).message).toMatch(/^localhost is .*\(loopback\)/);
  });
});
