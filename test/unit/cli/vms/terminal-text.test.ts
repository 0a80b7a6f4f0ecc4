import { describe, expect, test } from 'vitest';
import { lastLines } from '../../../../ts/cli/vms/console.js';
import { Screen } from '../../../../ts/cli/vms/screen.js';
import { TerminalText } from '../../../../ts/cli/vms/terminal-text.js';

describe('a console on a terminal', () => {
  test('is the same however its bytes come', () => {
    const bytes = Buffer.from('a\r\n\u001b[2Jé\u009b\r\rb\r');
    const text = new TerminalText();
    const bySingle = [...bytes].map((byte) => text.push(Buffer.from([byte]))).join('') + text.end();
    const whole = new TerminalText();
    expect(whole.push(bytes) + whole.end()).toBe(bySingle);
    expect(bySingle).toBe('a\n\\x1b[2Jé\\x9b\\x0d\\x0db\\x0d');
  });
});

describe('the last lines', () => {
  test.each([
    ['a\nb\nc\n', 2, 'b\nc\n'],
    ['a\nb\nc', 2, 'b\nc'],
    ['a\n\n', 1, '\n'],
    ['a\n', 9, 'a\n'],
    ['a\n', 0, ''],
    ['', 3, ''],
    ['\n', 1, '\n'],
  ])('of %j, %d: %j', (text, count, expected) => {
    expect(lastLines(Buffer.from(text), count).toString()).toBe(expected);
  });
});

describe('a table that is drawn anew', () => {
  test('goes back by as many lines as there were, and leaves none of them', () => {
    const screen = new Screen(() => 3);
    expect(screen.draw(['a', 'b', 'c'])).toBe('\u001b[?7la\u001b[K\nb\u001b[K\n\u001b[?7h\u001b[J');
    expect(screen.draw(['d']).startsWith('\u001b[2A\r\u001b[?7ld')).toBe(true);
    expect(screen.draw([]).startsWith('\u001b[1A\r')).toBe(true);
  });
});
