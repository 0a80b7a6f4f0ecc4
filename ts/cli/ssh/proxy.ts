import { once } from 'node:events';
import { join } from 'node:path';
import { AGENT_VSOCK_PORT } from '../../guest/handshake.js';
import { connectVsock } from '../../guest/vsock.js';
import { getUnixStream } from '../../util/unix-stream.js';
import { findRunningVm } from '../vms/attached.js';
import { accessOf } from './config.js';

/** Joins standard input and output to the SSH server of a VM's agent, until one of the two ends. */
export async function sshProxy(reference: string): Promise<number> {
  const vm = findRunningVm(reference);
  const { udsPath } = await accessOf(vm);
  const over = new AbortController();
  // While it is held, no idle timeout comes; a keeper that refuses it is about to end the VM, which ends this too.
  const hold = getUnixStream(join(vm.runtimeDir, 'keeper.sock'), '/hold', over.signal).catch(() => undefined);
  try {
    const socket = await connectVsock(udsPath, AGENT_VSOCK_PORT);
    const cut = () => socket.destroy();
    socket.on('error', () => undefined).once('finish', cut); // whoever ends standard input is gone
    process.stdout.on('error', cut);
    process.stdin.on('error', cut).pipe(socket);
    socket.pipe(process.stdout, { end: false });
    await once(socket, 'close');
    return 0;
  } finally {
    (await hold)?.on('error', () => undefined);
    over.abort();
    process.stdin.destroy();
  }
}
