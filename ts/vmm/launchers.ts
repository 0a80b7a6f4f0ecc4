import { Launcher } from './launcher.js';

/**
 * The launchers of a program. One that starts VMs again and again has the next one at hand when it starts a VM: to spawn it takes a
 * big process milliseconds, which nobody waits for between two starts.
 */
export class Launchers {
  #spare: Promise<Launcher | undefined> | undefined;
  #taken = 0;
  #closed = false;

  /** One that waits for its order; its end is from now on the caller's to see to. @throws SmartVMError PACKAGE_DAMAGED */
  async take(): Promise<Launcher> {
    this.#taken += 1;
    const spare = this.#spare;
    this.#spare = undefined;
    const launcher = await spare;
    if (!launcher?.isAlive) {
      return await Launcher.spawn();
    }
    launcher.keepsProgram(true);
    return launcher;
  }

  /**
   * A start is through, and whoever waits for it goes on first. Whoever has made one VM may make no other; whoever has made two, will.
   */
  prepare(): void {
    setImmediate(() => {
      if (this.#taken > 1 && this.#spare === undefined && !this.#closed) {
        this.#spare = spawnSpare();
      }
    });
  }

  /** Ends the one that nobody has taken. */
  async close(): Promise<void> {
    this.#closed = true;
    const spare = this.#spare;
    this.#spare = undefined;
    await (await spare)?.end();
  }
}

async function spawnSpare(): Promise<Launcher | undefined> {
  try {
    const launcher = await Launcher.spawn();
    launcher.keepsProgram(false);
    return launcher;
  } catch {
    return undefined; // the next start reports it
  }
}
