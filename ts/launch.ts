import { join } from 'node:path';
import { assertQueueMs } from './config/capacity.js';
import { assertCommandOptions } from './config/commands.js';
import { assertTags, type VmTags } from './config/labels.js';
import { assertLifetime, assertRemoval, type LifetimeOptions, lifetimeOf } from './config/lifetime.js';
import type { IMicroVMConfig } from './config/types.js';
import { writeGuestAccess } from './guest/access.js';
import { dialerOf } from './guest/dial.js';
import { generateVmKeys, type VmKeys } from './guest/keys.js';
import type { DialGuest } from './guest/types.js';
import type { BootImage, ImageProgress } from './images/image-manager.js';
import { perVmInitramfs } from './images/initramfs.js';
import { createOverlayDrive } from './images/overlay.js';
import { vmmFolder } from './vmm/vm-folder.js';

export interface LaunchOptions extends VmTags, LifetimeOptions {
  /** 1 to 64 letters, digits or hyphens. Default: made up. */
  id?: string | undefined;
  /** Default `debian`. */
  image?: string | undefined;
  /** Virtual CPUs, 1 to 32. Default 1. */
  vcpuCount?: number | undefined;
  /** Memory in MiB. Default 256. */
  memSizeMib?: number | undefined;
  /** Size in MiB of the layer that takes the VM's writes, sparse on the host. Default 1,024. */
  diskSizeMib?: number | undefined;
  /** 1 to 64 letters, digits, hyphens, underscores or dots. Default: the id. */
  hostname?: string | undefined;
  /** Environment of every command in the VM. It is written to a file of the VM that this user alone can read. */
  env?: Readonly<Record<string, string>> | undefined;
  /** The user of commands that name none: of the guest's /etc/passwd, or uid or uid:gid. Default `root`. */
  user?: string | undefined;
  /** Working directory of commands that name none. Default: their user's home. */
  cwd?: string | undefined;
  /**
   * Runs in the guest when that is up, without standard input. What it prints goes to the console, and the VM ends with it. Default:
   * none, and the VM runs until it is stopped.
   */
  command?: readonly string[] | undefined;
  /** Added to the image's kernel command line. */
  bootArgs?: string | undefined;
  /** TAP devices of the host to give to the guest. Default: none. */
  networkInterfaces?: IMicroVMConfig['networkInterfaces'];
  /** Most milliseconds from the VMM's start to the guest's first answer. Default 60,000. */
  startTimeoutMs?: number | undefined;
  /** Most milliseconds to wait in line where the host's capacity is taken. Default 0: CAPACITY_EXCEEDED at once. */
  queueMs?: number | undefined;
  /** The VM outlives this program; see `SmartVM.attach()`. Default false. */
  detached?: boolean | undefined;
  /** Nothing is to be left of a detached VM once it has ended, though no program be there: its keeper removes it. Default false. */
  removeOnExit?: boolean | undefined;
  /** Ends the launch; once the VM runs it has no say. */
  signal?: AbortSignal | undefined;
  /** Told of each step where an image has to be made first. */
  onProgress?: ((progress: ImageProgress) => void) | undefined;
}

export const DEFAULT_IMAGE = 'debian';
/** Every VM has its own vsock socket, so the guest's context id need not differ. */
const GUEST_CID = 3;
const AGENT_PROTOCOL = 1;
const INITRAMFS = 'initramfs.cpio';
const OVERLAY = 'overlay.img';
const VSOCK = 'vsock.sock';
const DEFAULT_DISK_SIZE_MIB = 1024;

/** @throws SmartVMError INVALID_OPTION for what would be found out only once an image is built */
export function assertLaunch(options: LaunchOptions): void {
  assertQueueMs(options.queueMs);
  assertTags(options);
  assertLifetime(options);
  assertRemoval(options.removeOnExit, options.detached);
  assertCommandOptions(options);
}

/** What a VM is beside its configuration. */
export function vmOptionsOf(options: LaunchOptions) {
  const { name, labels, image = DEFAULT_IMAGE, detached, removeOnExit, command } = options;
  return { name, labels, image, detached, removeOnExit, command, ...lifetimeOf(options) };
}

/** The VM that runs an image: root file system read-only, a layer of its own for its writes, vsock for the agent. */
export function launchConfig(id: string, runtimeDir: string, options: LaunchOptions, image: BootImage): IMicroVMConfig {
  const folder = vmmFolder(runtimeDir);
  return {
    id,
    bootSource: {
      kernelImagePath: image.kernelImagePath,
      initrdPath: join(folder, INITRAMFS),
      bootArgs: [image.bootArgs, options.bootArgs].filter((part) => part !== undefined).join(' '),
    },
    machineConfig: { vcpuCount: options.vcpuCount ?? 1, memSizeMib: options.memSizeMib ?? 256 },
    drives: [
      { driveId: 'rootfs', pathOnHost: image.rootfs.path, isRootDevice: true, isReadOnly: true },
      { driveId: 'overlay', pathOnHost: join(folder, OVERLAY), isRootDevice: false, isReadOnly: false },
    ],
    ...(options.networkInterfaces ? { networkInterfaces: options.networkInterfaces } : {}),
    vsock: { guestCid: GUEST_CID, udsPath: join(folder, VSOCK) },
  };
}

/** Makes the files of a VM that are its own, and gives the way to the agent inside. */
export async function prepareFiles(
  id: string,
  runtimeDir: string,
  options: LaunchOptions,
  image: BootImage,
  cacheDir: string,
): Promise<DialGuest> {
  const folder = vmmFolder(runtimeDir);
  const keys = await generateVmKeys();
  await Promise.all([
    perVmInitramfs(image.initramfsPath, join(folder, INITRAMFS), guestConfig(id, options, image, keys)),
    createOverlayDrive(cacheDir, join(folder, OVERLAY), options.diskSizeMib ?? DEFAULT_DISK_SIZE_MIB),
  ]);
  const access = { udsPath: join(folder, VSOCK), keys };
  await writeGuestAccess(runtimeDir, access);
  return dialerOf(access);
}

/** What the agent reads in /smartvm/config.json; drives have the names that their order gives them. */
export function guestConfig(id: string, options: LaunchOptions, image: BootImage, keys: VmKeys): object {
  return {
    protocol: AGENT_PROTOCOL,
    id,
    hostname: options.hostname ?? id,
    root: {
      device: '/dev/vda',
      fsType: image.rootfs.fsType,
      readOnly: true,
      overlay: { device: '/dev/vdb', fsType: 'ext4' },
    },
    hostKey: keys.hostKey,
    authorizedKeys: [keys.clientPublicKey],
    seed: keys.seed,
    timeMs: Date.now(),
    defaults: { env: options.env, user: options.user, cwd: options.cwd },
  };
}
