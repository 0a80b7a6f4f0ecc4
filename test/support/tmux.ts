import { readFile } from 'node:fs/promises';
import { run } from '../../ts/util/run.js';
import { until } from './leftovers.js';
import { type ScratchDirectory, scratchDirectory } from './scratch.js';

/** For what hangs. */
const SEES_MS = 60_000;
/** So that a line as it was typed is not taken for what a command prints. */
const PROMPT = 'host> ';

/** A terminal with a shell of this host, in tmux. */
export class Tmux implements AsyncDisposable {
  readonly #scratch: ScratchDirectory;

  private constructor(scratch: ScratchDirectory) {
    this.#scratch = scratch;
  }

  static async open(runtimeDir: string): Promise<Tmux> {
    const tmux = new Tmux(await scratchDirectory());
    const shell = ['env', `SMARTVM_RUNTIME_DIR=${runtimeDir}`, `PS1=${PROMPT}`, 'bash', '--norc', '--noprofile'];
    await tmux.#tmux('new-session', '-d', '-x', '100', '-y', '30', ...shell);
    try {
      await tmux.sees(PROMPT);
      return tmux;
    } catch (error) {
      await tmux[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Types a line. */
  async line(text: string): Promise<void> {
    await this.text(text);
    await this.keys('Enter');
  }

  async text(text: string): Promise<void> {
    await this.#tmux('send-keys', '-l', text);
  }

  /** Presses keys, by the names that tmux has for them. */
  async keys(...keys: string[]): Promise<void> {
    await this.#tmux('send-keys', ...keys);
  }

  async resize(cols: number, rows: number): Promise<void> {
    await this.#tmux('resize-window', '-x', `${cols}`, '-y', `${rows}`);
  }

  async screen(): Promise<string> {
    return `${await this.#tmux('capture-pane', '-p', '-J')}`;
  }

  /** Whether the screen is the other one, and the cursor to be seen. */
  async modes(): Promise<string> {
    return `${await this.#tmux('display-message', '-p', 'other=#{alternate_on} cursor=#{cursor_flag}')}`.trim();
  }

  /** The program that its shell runs. */
  async child(): Promise<number | undefined> {
    const shell = `${await this.#tmux('display-message', '-p', '#{pane_pid}')}`.trim();
    const [child] = `${await readFile(`/proc/${shell}/task/${shell}/children`)}`.split(' ');
    return child ? Number(child) : undefined;
  }

  /** Waits for a line of the screen that begins so. */
  async sees(beginning: string): Promise<void> {
    await this.#until((screen) => screen.split('\n').some((line) => line.startsWith(beginning)), beginning);
  }

  /** Waits for a text anywhere on the screen. */
  async shows(text: string): Promise<void> {
    await this.#until((screen) => screen.includes(text), text);
  }

  async #until(isThere: (screen: string) => boolean, text: string): Promise<void> {
    await until(async () => isThere(await this.screen()), SEES_MS, text).catch(async () => {
      throw new Error(`'${text}' is not to be seen:\n${await this.screen()}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tmux('kill-server');
    await this.#scratch[Symbol.asyncDispose]();
  }

  async #tmux(...args: string[]): Promise<Buffer> {
    return await run('tmux', ['-f', '/dev/null', '-S', this.#scratch.file('tmux.sock'), ...args]);
  }
}
