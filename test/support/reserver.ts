import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { PACKAGE_ROOT } from '../../ts/util/package-root.js';
import type { Answer, Order } from '../fixtures/reserver.js';

/** The overcommit by which this host has `mib` to give. */
export function overcommitFor(mib: number): number {
  return (mib + 0.5) / (totalmem() / 2 ** 20);
}

/** Another program of this host that shares its capacity. */
export class Reserver implements AsyncDisposable {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(runtimeRoot: string, mib = 1024): Promise<Reserver> {
    const child = fork(join(PACKAGE_ROOT, 'test/fixtures/reserver.ts'), [runtimeRoot, String(overcommitFor(mib))], {
      cwd: PACKAGE_ROOT,
      execArgv: ['--import', 'tsx'],
    });
    child.setMaxListeners(0);
    await once(child, 'message');
    return new Reserver(child);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async tell(order: Order): Promise<Answer> {
    const answer = new Promise<Answer>((resolve) => {
      const onMessage = (message: Answer) => {
        if (message.id === order.id) {
          this.#child.off('message', onMessage);
          resolve(message);
        }
      };
      this.#child.on('message', onMessage);
    });
    this.#child.send(order);
    return await answer;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exit = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await exit;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
