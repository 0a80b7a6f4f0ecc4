import { describe, expect, test } from 'vitest';
import { Redactor } from '../../../ts/util/redactor.js';

const PEM = '-----BEGIN OPENSSH PRIVATE KEY-----\r\nb3BlbnNzaC1rZXk\r\nAAAAB3Nz\r\n-----END OPENSSH PRIVATE KEY-----';
const JWT = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmN';

describe('Redactor.text()', () => {
  test.each([
    ['console=ttyS0 token=abc,def quiet', 'console=ttyS0 token=*** quiet'],
    ['DB_PASSWORD="a b" x=1', 'DB_PASSWORD=*** x=1'],
    ["api-key: 'a b' x", 'api-key: *** x'],
    ['{"client_secret": "abc", "a": 1}', '{"client_secret": ***, "a": 1}'],
    ['Authorization: Bearer abcdef', 'Authorization: ***'],
    ['it sent Bearer abcdefgh.ij', 'it sent Bearer ***'],
    [`a ${JWT} b`, 'a *** b'],
    [`gh ghp_${'x1'.repeat(18)} b`, 'gh *** b'],
    ['id AKIAIOSFODNN7EXAMPLE.', 'id ***.'],
    ['nfsroot=https://me:p@ss@host/x', 'nfsroot=https://***@host/x'],
    ['GET https://host/x?X-Sig=abc&b=c HTTP', 'GET https://host/x?*** HTTP'],
    [`key:\n${PEM}\nend`, 'key:\n***\nend'],
    [PEM.slice(0, 60), '***'],
    [`${PEM.slice(40)}\nend`, '***\nend'],
    [
      'Kernel panic - not syncing: keyboard: 3, root=/dev/vda',
      'Kernel panic - not syncing: keyboard: 3, root=/dev/vda',
    ],
  ])('%j becomes %j', (text, shown) => {
    expect(new Redactor().text(text)).toBe(shown);
  });

  test('finds what it has learned wherever it is, the longest first, and nothing so short that it is in other words', () => {
    const redactor = new Redactor();
    redactor.learnFrom({ bootArgs: 'token=abcdef pin_secret="ab"', list: [{ accessKey: 'abcdefgh' }] });
    redactor.learn(PEM);
    expect(redactor.text('abcdefgh abcdef ab b3BlbnNzaC1rZXk')).toBe('*** *** ab ***');
  });

  test.each([
    ['words', 'token'],
    ['settings without an end', 'token="'],
    ['schemes', 'a.'],
    ['URLs', 'a://a?'],
    ['web tokens', 'eyJ-'],
    ['lines of base64', `${'A'.repeat(80)}\n`],
    ['beginnings of keys', '-----BEGIN PRIVATE KEY'],
  ])('is through with a guest that prints nothing but %s', (_what, part) => {
    const text = part.repeat(Math.ceil(2 ** 21 / part.length));
    const begin = performance.now();
    new Redactor().text(text);
    expect(performance.now() - begin).toBeLessThan(20_000);
  });
});

describe('Redactor.value()', () => {
  test('leaves out what stands under a telling name, in an environment or in the metadata service', () => {
    const value = {
      labels: { team: 'a', 'deploy-token': 'x' },
      env: { HOME: '/root' },
      mmds: { version: 'V2', contents: { a: 'b' } },
      nested: [{ mmds: { latest: { a: 'b' } } }, { contents: 'x' }],
      bootSource: { bootArgs: 'quiet password=x' },
      hasToken: true,
      apiKey: null,
      count: 3,
    };
    expect(new Redactor().value(value)).toEqual({
      labels: { team: 'a', 'deploy-token': '***' },
      env: '***',
      mmds: { version: 'V2' },
      nested: [{ mmds: {} }, { contents: '***' }],
      bootSource: { bootArgs: 'quiet password=***' },
      hasToken: true,
      apiKey: null,
      count: 3,
    });
  });
});

describe('a VMM that was taken over', () => {
  test('may answer what is nested without an end', () => {
    const deep = JSON.parse(`${'['.repeat(200_000)}${']'.repeat(200_000)}`) as unknown;
    const redactor = new Redactor();
    redactor.learnFrom(deep);
    expect(JSON.stringify(redactor.value(deep))).toMatch(/^\[{65}"\*{3}"\]{65}$/);
  });

  test('may answer nothing but secrets', () => {
    const many = Array.from({ length: 20_000 }, (_, index) => `token=secret-${index}`);
    const redactor = new Redactor();
    const begin = performance.now();
    redactor.learn('the key of the guest');
    redactor.learnFrom(many);
    expect(redactor.value([...many, 'the key of the guest'])).toEqual([...many.map(() => 'token=***'), '***']);
    expect(performance.now() - begin).toBeLessThan(20_000);
  });
});
