import type { BootContext } from './boot-context.js';
import { started } from './boot-context.js';

/**
 * Takes the ports of the host that lead to the guest, before that runs. Its keeper binds them: so it is the kernel that says whether they
 * are free, and they are held for as long as the VM lives, whatever becomes of this program.
 */
export async function publishPorts(context: BootContext): Promise<void> {
  const { connection } = context;
  if (connection?.publication) {
    await connection.published(await started(context).publish(connection.publication));
  }
}
