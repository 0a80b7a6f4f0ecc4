import { describe, expect, test } from 'vitest';
import { parseForward } from '../../../ts/cli/ports/spec.js';
import { DetachKeys } from '../../../ts/cli/terminal/detach-keys.js';
import { TerminalModes } from '../../../ts/cli/terminal/modes.js';

describe('forwardings of the command line', () => {
  test.each([
    ['8080:80', { hostPort: 8080, guestPort: 80 }],
    ['80', { hostPort: 80, guestPort: 80 }],
    [':80', { hostPort: 0, guestPort: 80 }],
    ['0.0.0.0:8080:80', { hostIp: '0.0.0.0', hostPort: 8080, guestPort: 80 }],
    ['[::1]:8080:80', { hostIp: '::1', hostPort: 8080, guestPort: 80 }],
    ['/a.sock:/b.sock', { hostPath: '/a.sock', guestPath: '/b.sock' }],
    [':/b.sock', { hostPort: 0, guestPath: '/b.sock' }],
  ])('%s', (text, expected) => {
    expect(parseForward(text, false)).toEqual({ ...expected, reverse: false });
  });

  test.each(['', 'web', '80:', '/b.sock', 'a:b:80', '::1:80:80', '123456'])('%j is refused', (text) => {
    expect(() => parseForward(text, false)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });
});

describe('the keys that leave a terminal', () => {
  const typed = (keys: DetachKeys, ...chunks: string[]) =>
    chunks.map((chunk) => keys.push(Buffer.from(chunk))?.toString());

  test('leave it, in one piece or in two; what only begins like them goes on', () => {
    expect(typed(new DetachKeys(), 'ls\n', 'a\x1dd')).toEqual(['ls\n', undefined]);
    expect(typed(new DetachKeys(), '\x1d', 'd')).toEqual(['', undefined]);
    expect(typed(new DetachKeys(), '\x1d', 'x', '\x1d', '\x1dd')).toEqual(['', '\x1dx', '', undefined]);
    expect(typed(new DetachKeys('ctrl-p,ctrl-q'), '\x10\x11')).toEqual([undefined]);
    expect(typed(new DetachKeys(''), '\x1dd')).toEqual(['\x1dd']);
  });

  test.each(['ctrl-', 'ab', 'ctrl-p,', 'é'])('%j is refused', (keys) => {
    expect(() => new DetachKeys(keys)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });
});

describe('the modes of a terminal', () => {
  const restored = (...chunks: string[]) => {
    const modes = new TerminalModes();
    for (const chunk of chunks) {
      modes.see(Buffer.from(chunk));
    }
    return modes.restore();
  };

  test('that a program has left on are switched off', () => {
    expect(restored('text')).toBe('');
    expect(restored('\x1b[?1049h\x1b[?25l', 'text')).toBe('\x1b[?1049l\x1b[?25h');
    expect(restored('\x1b[?10', '49h')).toBe('\x1b[?1049l');
    expect(restored('\x1b[?1000;1006h\x1b[?1000l')).toBe('\x1b[?1006l');
    expect(restored('\x1b[?1049h', '\x1b[?1049l')).toBe('');
    expect(restored('\x1b[?7l')).toBe('');
  });
});
