import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { promisify } from 'node:util';
import { generateVmKeys } from '../ts/guest/keys.js';
import type { BootImage } from '../ts/images/image-manager.js';
import { perVmInitramfs } from '../ts/images/initramfs.js';
import { createOverlayDrive } from '../ts/images/overlay.js';
import { guestConfig } from '../ts/launch.js';
import { Qmp } from '../ts/qemu/machine/qmp.js';
import { GuestPort } from '../ts/qemu/vsock/guest-port.js';
import type { SmartVM } from '../ts/smartvm.js';

const execFileAsync = promisify(execFile);

/** As `launch()` has them by default. */
const DISK_SIZE_MIB = 1024;
const [INITRAMFS, OVERLAY] = ['initramfs.cpio', 'overlay.img'];
/** The agent's port, and the descriptors at which QEMU is given QMP and the port to the guest. */
const AGENT_PORT = 10022;
const [QMP_FD, VSOCK_FD] = [3, 4];

/** The command line of a QEMU, and the runtime directory that it names. */
export interface BareMachine {
  readonly argv: readonly string[];
  readonly runtimeDir: string;
  readonly image: BootImage;
}

/** Takes the command line of the QEMU that a launch starts: the same kernel, devices and options to the letter. */
export async function captureMachine(smartvm: SmartVM, runtimeDir: string): Promise<BareMachine> {
  const image = await smartvm.imageManager.resolve('debian');
  await using vm = await smartvm.launch({ image: 'debian' });
  const children = await readFile(`/proc/${vm.pid}/task/${vm.pid}/children`, 'utf8');
  const commandLine = await readFile(`/proc/${children.trim().split(' ')[0]}/cmdline`, 'utf8');
  // `-S` waits for a word of the VMM, which there is none of.
  const argv = commandLine.split('\0').filter((argument) => argument !== '' && argument !== '-S');
  return { argv, runtimeDir: join(runtimeDir, vm.id), image };
}

/** Milliseconds from starting QEMU to the end of an OpenSSH client that ran one command in its guest. */
export async function timeBareBoot(machine: BareMachine, directory: string): Promise<number> {
  await prepareFiles(machine.image, directory);
  const [program = '', ...args] = machine.argv.map((argument) => argument.replaceAll(machine.runtimeDir, directory));
  const bridge = createServer();
  bridge.listen(0, '127.0.0.1');
  await once(bridge, 'listening');

  const started = performance.now();
  const qemu = spawn('setpriv', ['--pdeathsig', 'KILL', program, ...args], {
    stdio: ['ignore', 'ignore', 'inherit', 'pipe', 'pipe'],
  });
  const exited = once(qemu, 'exit');
  try {
    const early = exited.then(() => Promise.reject(new Error('QEMU ended before its guest was up')));
    await Promise.race([guestReached(qemu.stdio[QMP_FD] as Duplex, qemu.stdio[VSOCK_FD] as Duplex, bridge), early]);
    const { stdout } = await execFileAsync('ssh', sshArguments(directory, bridge));
    const duration = performance.now() - started;
    if (stdout !== 'Linux\n') {
      throw new Error(`the guest said: ${stdout}`);
    }
    return duration;
  } finally {
    bridge.close();
    qemu.kill('SIGKILL');
    await exited;
  }
}

/** Joins the bridge to the guest's SSH server, and resolves when the guest has opened its end. */
async function guestReached(monitor: Duplex, channel: Duplex, bridge: Server): Promise<void> {
  const guest = new GuestPort(channel);
  bridge.on('connection', (socket) => void joinGuest(guest, socket));
  await new Promise<void>((resolve, reject) => {
    const qmp = new Qmp(monitor, ({ event, data }) => {
      if (event === 'VSERPORT_CHANGE' && data?.open === true) {
        guest.setOpen(true);
        resolve();
      }
    });
    qmp.execute('qmp_capabilities').catch(reject);
  });
}

async function joinGuest(guest: GuestPort, socket: Socket): Promise<void> {
  socket.setNoDelay(true).on('error', () => undefined);
  const stream = await guest.dial(AGENT_PORT);
  if (!stream) {
    socket.destroy();
    return;
  }
  stream.on('error', () => socket.destroy());
  stream.pipe(socket).pipe(stream);
}

async function prepareFiles(image: BootImage, directory: string): Promise<void> {
  const keys = await generateVmKeys();
  await perVmInitramfs(
    image.initramfsPath,
    join(directory, INITRAMFS),
    guestConfig('bare', { options: {}, image, layer: { kind: 'overlay', grows: false }, attachments: [] }, keys),
  );
  await createOverlayDrive(join(directory, 'cache'), join(directory, OVERLAY), DISK_SIZE_MIB);
  await writeFile(join(directory, 'id_ed25519'), keys.clientKey, { mode: 0o600 });
  await writeFile(join(directory, 'known_hosts'), `guest ssh-ed25519 ${keys.hostPublicKey}\n`);
}

function sshArguments(directory: string, bridge: Server): string[] {
  const { port } = bridge.address() as { port: number };
  const options = {
    HostKeyAlias: 'guest',
    IdentityFile: join(directory, 'id_ed25519'),
    UserKnownHostsFile: join(directory, 'known_hosts'),
    Ciphers: 'aes128-gcm@openssh.com,chacha20-poly1305@openssh.com',
    BatchMode: 'yes',
    LogLevel: 'ERROR',
  };
  const flags = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  return ['-F', 'none', ...flags, '-p', String(port), 'root@127.0.0.1', 'uname -s'];
}
