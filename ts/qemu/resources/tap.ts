import { spawn } from 'node:child_process';
import { type FileHandle, open } from 'node:fs/promises';
import { errnoText, Fault, osErrorText } from '../fault.js';

const IFNAMSIZ = 16;

/**
 * TUNSETIFF with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR on standard input. Exits with the error number, or prints the
 * interface's name, which the kernel chooses when none is given. Node can open the device but knows no ioctl; and
 * since the attachment belongs to the open file, not to the process, the file stays attached after perl has gone.
 */
const ATTACH =
  'my $request = pack("a16 S x22", $ARGV[0], 0x5002);' +
  'ioctl(STDIN, 0x400454ca, $request) or exit($!);' +
  'print unpack("Z16", $request);';

/** A TAP interface that is ours while the file is open; one that did not exist before goes away with it. */
export interface Tap {
  readonly name: string;
  /** Undefined where QEMU itself speaks for the guest. */
  readonly fd: number | undefined;
  close(): Promise<void>;
}

/** In place of a TAP: QEMU's user networking, to the world or to nowhere. No kernel lets an interface have a name with a colon. */
const USER_NETWORKS: readonly string[] = ['user:', 'user:none'];

/**
 * Attaches to a TAP interface, which is made when there is none; or to none, for the name of a user network.
 * @throws Fault with the reason alone; the caller says what it was for
 */
export async function openTap(name: string): Promise<Tap> {
  if (USER_NETWORKS.includes(name)) {
    return { name, fd: undefined, close: async () => undefined };
  }
  const file = await openTun();
  try {
    if (Buffer.byteLength(name) >= IFNAMSIZ) {
      throw new Fault('Invalid interface name');
    }
    return { name: await attach(file.fd, name), fd: file.fd, close: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function openTun(): Promise<FileHandle> {
  try {
    return await open('/dev/net/tun', 'r+');
  } catch (cause) {
    throw new Fault(`Couldn't open /dev/net/tun: ${osErrorText(cause)}`);
  }
}

function attach(fd: number, name: string): Promise<string> {
  const perl = spawn('perl', ['-e', ATTACH, '--', name], { stdio: [fd, 'pipe', 'ignore'] });
  let attached = '';
  perl.stdout?.on('data', (chunk: Buffer) => {
    attached += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    const refuse = (reason: string) =>
      reject(
        new Fault(
          `Error while creating ifreq structure: ${reason}. Invalid TUN/TAP Backend provided by ${name}. Check our documentation on setting up the network devices.`,
        ),
      );
    perl.once('error', () => refuse('perl, which attaches to TAP interfaces, is not installed'));
    perl.once('close', (code) => (code === 0 ? resolve(attached) : refuse(errnoText(code ?? 0))));
  });
}
