import { describe, expect, test } from 'vitest';
import { assertWait, type Wait } from '../../../ts/guest/ready/ready.js';
import { agent, all, any, command, http, logLine, port } from '../../../ts/guest/ready/waits.js';

describe('a wait that is refused', () => {
  const deep = (depth: number): Wait => (depth === 0 ? agent() : all([deep(depth - 1)]));

  test.each<[string, unknown, RegExp]>([
    ['no wait', 'port:80', /made? them|functions of `ready`/],
    ['another kind', { kind: 'toString' }, /kind must be one of agent, /],
    ['a port that is none', port(0), /address.port must be >= 1/],
    ['a relative socket', port({ path: 'run/x' }), /absolute/],
    ['HTTP without a server', http({}), /either a port or a socketPath/],
    ['HTTP with two', http({ port: 1, socketPath: '/x' }), /either a port or a socketPath/],
    ['a path with a line break', http({ port: 1, path: '/a\r\nX: y' }), /path must be a path/],
    ['a header with a line break', http({ port: 1, headers: { a: 'b\r\nc' } }), /headers\["a"\] must be/],
    ['a status that is none', http({ port: 1, status: [200, 99] }), /status\[1\] must be >= 100/],
    ['an empty pattern', logLine(''), /match must not be empty/],
    ['a shell line that does not say so', command('true'), /argument vector/],
    ['no command', command([]), /at least 1/],
    ['none of all', all([]), /waits must have at least 1/],
    [
      'a fault deep inside',
      all([any([port(1), port(1, { timeoutMs: 0 })])]),
      /wait\.waits\[0\]\.waits\[1\]\.timeoutMs/,
    ],
    ['a misspelt option', { ...agent(), timeout: 3 }, /timeout is not a field/],
    ['too many inside one another', deep(17), /16 waits deep/],
  ])('%s', (_what, wait, message) => {
    expect(() => assertWait(wait as Wait, {})).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringMatching(message) }),
    );
  });

  test('is none that is right', () => {
    assertWait(deep(15), { timeoutMs: 1 });
    assertWait(command('a | b', { shell: true, env: { A: 'b' }, user: 'nobody', cwd: '/', exitCode: 3 }), {});
    assertWait(http({ socketPath: '/run/docker.sock', path: '/_ping', method: 'HEAD', status: 200 }), {});
  });
});
