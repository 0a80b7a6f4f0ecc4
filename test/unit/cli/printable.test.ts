import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { printable } from '../../../ts/cli/printable.js';

/** Whether a terminal would take it for anything but text, a line break or a tab: C0, DEL and C1. */
function controls(text: string): boolean {
  return [...text].some((character) => {
    const code = character.codePointAt(0) ?? 0;
    return (code < 0x20 && character !== '\n' && character !== '\t') || (code >= 0x7f && code < 0xa0);
  });
}

const orders = /[\u200e\u200f\u2028-\u202e\u2066-\u2069]/;
const anyText = fc.string({ unit: 'binary' });
const hostile = fc.array(fc.constantFrom('\u001b[2J', '\u001b]0;x\u0007', '\u009b1m', '\r', '\b', '\u007f', 'ü\n\t'));

describe('printable', () => {
  test.each([
    ['\u001b[31mred\u001b[0m', '\\x1b[31mred\\x1b[0m'],
    ['\u001b]0;title\u0007', '\\x1b]0;title\\x07'],
    ['\u009b2J', '\\x9b2J'],
    ['over\rwritten', 'over\\x0dwritten'],
    ['a\n\tb', 'a\n\tb'],
    ['web\u202egnp.exe\u2069', 'web\\u202egnp.exe\\u2069'],
    ['grüße 😀', 'grüße 😀'],
  ])('%j', (text, expected) => {
    expect(printable(text)).toBe(expected);
  });

  test('never gives a control character but the line break and the tab', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          anyText,
          hostile.map((parts) => parts.join('')),
        ),
        (text) => !controls(printable(text)),
      ),
    );
  });

  test('leaves everything else as it is', () => {
    fc.assert(fc.property(anyText, (text) => controls(text) || orders.test(text) || printable(text) === text));
  });
});
