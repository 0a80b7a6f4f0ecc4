// The control characters of C0 and C1 but the line feed and the tab: what drives a terminal (ECMA-48).
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** Text that cannot drive a terminal: its control characters are spelt out. Guests write consoles, names and errors. */
export function printable(text: string): string {
  return text.replace(CONTROLS, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
