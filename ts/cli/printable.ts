// The control characters of C0 and C1 but the line feed and the tab: what drives a terminal (ECMA-48).
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** Text that cannot drive a terminal: its control characters are spelt out. Guests write consoles, names and errors. */
export function printable(text: string): string {
  return text.replace(CONTROLS, (character) => `\\x${hex(character, 2)}`);
}

/** As {@link printable}, for what is to stay on one line and in its column. */
export function printableLine(text: string): string {
  return printable(text).replaceAll('\n', '\\n').replaceAll('\t', '\\t');
}

/** JSON in which what a terminal would take for an order is spelt out; JSON itself does so with C0 alone. */
export function printableJson(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, undefined, indent);
  return text.replace(/[\u007f-\u009f]/g, (character) => `\\u${hex(character, 4)}`);
}

function hex(character: string, digits: number): string {
  return character.charCodeAt(0).toString(16).padStart(digits, '0');
}
