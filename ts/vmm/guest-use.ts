/** Counts the commands that a program has in a guest, and says so to the keeper where the VM has an idle timeout. */
export class GuestUse {
  readonly #hold: () => Promise<() => void>;
  #commands = 0;
  #isLimited = false;
  #held: Promise<() => void> | undefined;

  /** @param hold stops the keeper's idle clock, until what it gives is called */
  constructor(hold: () => Promise<() => void>) {
    this.#hold = hold;
  }

  /** Whether the VM has an idle timeout. Without one, the keeper is not told of commands. */
  set isLimited(isLimited: boolean) {
    this.#isLimited = isLimited;
    if (isLimited && this.#commands > 0) {
      this.#take().catch(() => undefined); // it is paused or ending: the next event says more
    }
  }

  /** Counts a command, until what it gives is called. @throws SmartVMError INVALID_STATE when the idle timeout has just come */
  async begin(): Promise<() => void> {
    this.#commands += 1;
    let runs = true;
    const end = () => {
      if (runs) {
        runs = false;
        this.#end();
      }
    };
    if (this.#isLimited) {
      await this.#take().catch((error: unknown) => {
        end();
        throw error;
      });
    }
    return end;
  }

  #take(): Promise<unknown> {
    if (!this.#held) {
      const held = this.#hold();
      this.#held = held;
      held.catch(() => {
        if (this.#held === held) {
          this.#held = undefined;
        }
      });
    }
    return this.#held;
  }

  #end(): void {
    this.#commands -= 1;
    if (this.#commands === 0) {
      this.#held?.then(
        (release) => release(),
        () => undefined,
      );
      this.#held = undefined;
    }
  }
}
