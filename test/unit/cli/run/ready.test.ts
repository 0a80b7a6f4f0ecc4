import { expect, it } from 'vitest';
import { readyWhenOf } from '../../../../ts/cli/run/ready.js';
import { assertWait, type Wait } from '../../../../ts/guest/ready/ready.js';

it.each<[string, object]>([
  ['port:8080', { kind: 'port', address: { port: 8080 } }],
  ['port:db:5432', { kind: 'port', address: { host: 'db', port: 5432 } }],
  ['port:[::1]:80', { kind: 'port', address: { host: '::1', port: 80 } }],
  ['port:/run/some.sock', { kind: 'port', address: { path: '/run/some.sock' } }],
  ['http:8080', { kind: 'http', port: 8080 }],
  ['http:8080/a:b?c=d', { kind: 'http', port: 8080, path: '/a:b?c=d' }],
  ['http:web:80/', { kind: 'http', host: 'web', port: 80, path: '/' }],
  ['log:^listening on: \\d+$', { kind: 'log-line', match: /^listening on: \d+$/ }],
  ['cmd:test -e /x && echo : ok', { kind: 'command', command: 'test -e /x && echo : ok', shell: true }],
])('%s', (word, wait) => {
  const ready = readyWhenOf([word]) as Wait;
  expect(ready).toEqual({ kind: 'all', waits: [wait] });
  assertWait(ready, {});
});

it.each(['', 'port:', '8080', 'tcp:80', 'port:80/path', 'http:/path', 'port:a b:80:90', 'log:(', 'cmd:'])(
  'refuses %j',
  (word) => {
    const refusal = expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining('--ready') });
    expect(() => readyWhenOf([word])).toThrow(refusal);
  },
);

it('is nothing where nothing is said', () => {
  expect(readyWhenOf(undefined)).toBeUndefined();
});
