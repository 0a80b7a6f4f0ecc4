// The control characters of C0 and C1 but the line feed and the tab: what drives a terminal (ECMA-48).
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** What changes the order in which text is read (UAX #9), and the further line breaks: with them a name looks like another. */
const ORDERS = /[\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Text that cannot drive a terminal: its control characters are spelt out. Guests write consoles, names and errors. */
export function printable(text: string): string {
  return text.replace(CONTROLS, (character) => `\\x${hex(character, 2)}`).replace(ORDERS, spelt);
}

/** As {@link printable}, for what is to stay on one line and in its column. */
export function printableLine(text: string): string {
  return printable(text).replaceAll('\n', '\\n').replaceAll('\t', '\\t');
}

/** JSON in which what a terminal would take for an order is spelt out; JSON itself does so with C0 alone. */
export function printableJson(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, undefined, indent);
  return text.replace(/[\u007f-\u009f]/g, spelt).replace(ORDERS, spelt);
}

function spelt(character: string): string {
  return `\\u${hex(character, 4)}`;
}

function hex(character: string, digits: number): string {
  return character.charCodeAt(0).toString(16).padStart(digits, '0');
}
