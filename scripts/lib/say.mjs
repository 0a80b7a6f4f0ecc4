const colours = process.stderr.isTTY === true && !process.env.NO_COLOR && process.env.CI !== 'true';

const paint = (code) => (text) => (colours ? `\u001b[${code}m${text}\u001b[0m` : text);

export const dim = paint(2);
export const green = paint(32);
export const red = paint(31);

/** One line of progress. */
export function say(message) {
  process.stderr.write(`${dim('smartvm:')} ${message}\n`);
}
