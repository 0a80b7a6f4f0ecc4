/** Modes of a terminal that a program which ends in disorder leaves on: the other screen, reports of the mouse and of focus, bracketed paste. */
const SWITCHED_ON = new Set([1, 47, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1047, 1049, 2004]);
const CURSOR = 25;
const CHANGE = new RegExp(`${'\u001b'}\\[\\?([\\d;]{1,64})([hl])`, 'g');
/** A sequence may come in two pieces. */
const LONGEST = 70;

/** Follows what a guest's program switches in the terminal. */
export class TerminalModes {
  readonly #on = new Set<number>();
  #isCursorHidden = false;
  #tail = '';

  see(chunk: Buffer): void {
    const text = this.#tail + chunk.toString('latin1');
    let end = 0;
    for (const { index, 0: all, 1: modes = '', 2: to } of text.matchAll(CHANGE)) {
      end = index + all.length;
      for (const mode of modes.split(';').map(Number)) {
        this.#switch(mode, to === 'h');
      }
    }
    this.#tail = text.slice(Math.max(end, text.length - LONGEST));
  }

  /** What switches all back. */
  restore(): string {
    const off = [...this.#on].map((mode) => `\u001b[?${mode}l`);
    return [...off, ...(this.#isCursorHidden ? [`\u001b[?${CURSOR}h`] : [])].join('');
  }

  #switch(mode: number, isOn: boolean): void {
    if (mode === CURSOR) {
      this.#isCursorHidden = !isOn;
    } else if (SWITCHED_ON.has(mode)) {
      isOn ? this.#on.add(mode) : this.#on.delete(mode);
    }
  }
}
