import { describe, expect, it } from 'vitest';
import { egressInWords, egressOf } from '../../../../ts/cli/network/egress.js';
import { isSmartVMError } from '../../../../ts/errors.js';

describe('--egress', () => {
  it.each([
    [undefined, undefined],
    [[], undefined],
    [['none'], 'none'],
    [['internet'], 'internet'],
    [['allow=10.0.0.0/8'], [{ action: 'allow', to: '10.0.0.0/8' }]],
    [
      ['allow=fd00::/8,tcp,443,8000-8999', 'deny=any'],
      [
        { action: 'allow', to: 'fd00::/8', protocol: 'tcp', ports: ['443', '8000-8999'] },
        { action: 'deny', to: 'any' },
      ],
    ],
  ])('%j is %j', (texts, egress) => {
    expect(egressOf(texts)).toEqual(egress);
  });

  it.each([
    [['all']],
    [['allow']],
    [['allow=']],
    [['permit=internet']],
    [['allow=internet,tcp,udp']],
    [['allow=internet,70000']],
    [['allow=internet,9-1']],
    [['allow=somewhere']],
    [['allow=internet,icmp,80']],
    [['none', 'internet']],
    [['internet', 'deny=host']],
    [['deny=host', 'internet']],
  ])('%j is refused', (texts) => {
    expect(() => egressOf(texts)).toThrow(expect.toSatisfy((error) => isSmartVMError(error, 'INVALID_OPTION')));
  });

  it.each([
    ['none', 'none'],
    ['internet', 'internet'],
    [[], 'none'],
    [[{ action: 'allow' }, { action: 'deny' }], 'allow=internet deny=any'],
    [[{ action: 'allow', to: '10.0.0.1', protocol: 'udp', ports: [53, '60-61'] }], 'allow=10.0.0.1,udp,53,60-61'],
  ] as const)('%j is told as %s', (egress, words) => {
    expect(egressInWords(egress)).toBe(words);
  });
});
