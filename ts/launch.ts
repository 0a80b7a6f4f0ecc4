import { join } from 'node:path';
import { assertQueueMs } from './config/capacity.js';
import { assertCommandOptions } from './config/commands.js';
import { type DebianOptions, debianReference } from './config/debian.js';
import { assertGuestInit, type GuestInit, initArguments } from './config/guest-init.js';
import { assertTags, type VmTags } from './config/labels.js';
import { assertLayerOptions, keptLayerName, type LayerOptions } from './config/layers.js';
import { assertLifetime, assertRemoval, type LifetimeOptions, lifetimeOf } from './config/lifetime.js';
import type { NetworkAttachment } from './config/network.js';
import { type NetworkChoices, networkPlanOf } from './config/network-choice.js';
import type { IDriveConfig, IMicroVMConfig } from './config/types.js';
import { SmartVMError } from './errors.js';
import { writeGuestAccess } from './guest/access.js';
import { dialerOf } from './guest/dial.js';
import { generateVmKeys, type VmKeys } from './guest/keys.js';
import { guestNetworkOf } from './guest/network.js';
import { AGENT_PROTOCOL } from './guest/protocol.js';
import { assertReadyOptions, type ReadyOptions } from './guest/ready/ready.js';
import type { DialGuest } from './guest/types.js';
import type { BootImage, ImageProgress } from './images/image-manager.js';
import { perVmInitramfs } from './images/initramfs.js';
import type { LayerPlan } from './images/layers/plan.js';
import type { Amounts } from './vmm/capacity/amounts.js';
import { vmmFolder } from './vmm/vm-folder.js';

export interface LaunchOptions
  extends Omit<VmTags, 'image'>,
    LifetimeOptions,
    LayerOptions,
    NetworkChoices,
    ReadyOptions {
  /** 1 to 64 letters, digits or hyphens. Default: made up. */
  id?: string | undefined;
  /** `debian:trixie`, `oci:python:3.12`, a folder with a root file system, and more: docs/images.md. Default `debian`. */
  image?: string | { readonly debian: DebianOptions } | undefined;
  /** Whether an image that is there is asked for anew: a tag may name another one by now. Default `missing`: it is not. */
  pull?: 'always' | 'missing' | undefined;
  /** Virtual CPUs, 1 to 32. Default 1. */
  vcpuCount?: number | undefined;
  /** Memory in MiB. Default 256. */
  memSizeMib?: number | undefined;
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
  /**
   * Who is PID 1 in the guest. `agent`, the default: SmartVM's agent, and nothing else of the image is started. `image`: the image's own
   * init, systemd or another, beside which the agent runs; the launch waits until it is up.
   */
  init?: GuestInit | undefined;
  /** Added to the image's kernel command line. */
  bootArgs?: string | undefined;
  /** TAP devices of the host to give to the guest, which sets up none of them by itself. Default: none. */
  networkInterfaces?: IMicroVMConfig['networkInterfaces'];
  /** Most milliseconds from the VMM's start to the guest's first answer, and with `init: 'image'` until that is up. Default 60,000. */
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
const INITRAMFS = 'initramfs.cpio';
const VSOCK = 'vsock.sock';

/** @throws SmartVMError INVALID_OPTION, MEMORY_EXCEEDED for what would be found out only once an image is built */
export function assertLaunch(options: LaunchOptions, { memoryMib: hostMib }: Pick<Amounts, 'memoryMib'>): void {
  assertQueueMs(options.queueMs);
  assertTags({ ...options, image: imageReference(options.image) });
  assertLifetime(options);
  assertRemoval(options.removeOnExit, options.detached);
  assertCommandOptions(options);
  assertReadyOptions(options);
  assertLayerOptions(options);
  assertGuestInit(options.init);
  networkPlanOf(options);
  keptLayerName(options);
  const { memSizeMib } = options;
  if (memSizeMib !== undefined && memSizeMib > hostMib) {
    throw new SmartVMError('MEMORY_EXCEEDED', `a VM of ${memSizeMib} MiB does not fit this host of ${hostMib} MiB`, {
      details: { memSizeMib, hostMib },
    });
  }
}

/** The reference of the image that a launch names. @throws SmartVMError IMAGE_UNKNOWN, INVALID_OPTION */
export function imageReference(image: LaunchOptions['image']): string | undefined {
  return typeof image === 'object' ? debianReference(image.debian) : image;
}

/** What a VM is beside its configuration. @param image the name of the image that it boots */
export function vmOptionsOf(options: LaunchOptions, image: string) {
  const { name, labels, detached, removeOnExit, command, readyWhen, readyTimeoutMs, init } = options;
  return {
    ...{ name, labels, image, detached, removeOnExit, command, readyWhen, readyTimeoutMs, init },
    ...lifetimeOf(options),
    ...networkPlanOf(options),
  };
}

/** The VM that runs an image: a layer of its own for its writes, vsock for the agent. */
export function launchConfig(
  id: string,
  runtimeDir: string,
  options: LaunchOptions,
  image: BootImage,
  layer: LayerPlan,
): IMicroVMConfig {
  const folder = vmmFolder(runtimeDir);
  return {
    id,
    bootSource: {
      kernelImagePath: image.kernelImagePath,
      initrdPath: join(folder, INITRAMFS),
      bootArgs: [image.bootArgs, initArguments(options.init), options.bootArgs]
        .filter((part) => part !== undefined)
        .join(' '),
    },
    machineConfig: { vcpuCount: options.vcpuCount ?? 1, memSizeMib: options.memSizeMib ?? 256 },
    drives: drivesOf(image, layer),
    ...(options.networkInterfaces ? { networkInterfaces: options.networkInterfaces } : {}),
    vsock: { guestCid: GUEST_CID, udsPath: join(folder, VSOCK) },
  };
}

/** What the guest is told of its layer. */
type GuestLayer = Pick<LayerPlan, 'kind' | 'grows'>;

/** What a guest is made of. */
export interface GuestParts {
  readonly options: LaunchOptions;
  readonly image: BootImage;
  readonly layer: GuestLayer;
  readonly attachments: readonly NetworkAttachment[];
}

/**
 * The image, which is only read, with the layer beside it; or the layer alone, where it is a copy of the image. Behind them the
 * kernel's modules, where the image has none.
 */
function drivesOf({ rootfs, moduleDrivePath }: BootImage, { kind, path }: LayerPlan): IDriveConfig[] {
  const root: IDriveConfig[] =
    kind === 'overlay'
      ? [
          { driveId: 'rootfs', pathOnHost: rootfs.path, isRootDevice: true, isReadOnly: true },
          { driveId: 'overlay', pathOnHost: path, isRootDevice: false, isReadOnly: false },
        ]
      : [{ driveId: 'rootfs', pathOnHost: path, isRootDevice: true, isReadOnly: false }];
  const modules = { driveId: 'modules', isRootDevice: false, isReadOnly: true };
  return moduleDrivePath === undefined ? root : [...root, { ...modules, pathOnHost: moduleDrivePath }];
}

/** Makes the files of a VM that are its own, and gives the way to the agent inside. */
export async function prepareFiles(
  id: string,
  runtimeDir: string,
  guest: GuestParts,
  fillLayer: () => Promise<void>,
): Promise<DialGuest> {
  const folder = vmmFolder(runtimeDir);
  const keys = await generateVmKeys();
  await Promise.all([
    perVmInitramfs(guest.image.initramfsPath, join(folder, INITRAMFS), guestConfig(id, guest, keys)),
    fillLayer(),
  ]);
  const access = { udsPath: join(folder, VSOCK), keys };
  await writeGuestAccess(runtimeDir, access);
  return dialerOf(access);
}

/** What the agent reads in /smartvm/config.json; drives have the names that their order gives them. */
export function guestConfig(id: string, { options, image, layer, attachments }: GuestParts, keys: VmKeys): object {
  return {
    protocol: AGENT_PROTOCOL,
    id,
    hostname: options.hostname ?? id,
    init: options.init,
    root: rootOf(image, layer),
    hostKey: keys.hostKey,
    authorizedKeys: [keys.clientPublicKey],
    seed: keys.seed,
    timeMs: Date.now(),
    network: guestNetworkOf(attachments),
    container: image.config !== undefined,
    modules: modulesOf(image, layer),
    defaults: {
      env: { ...image.config?.env, ...options.env },
      user: options.user ?? image.config?.user,
      cwd: options.cwd ?? image.config?.workingDir,
    },
  };
}

function rootOf({ rootfs: { fsType } }: BootImage, { kind, grows }: GuestLayer): object {
  const root = { device: '/dev/vda', fsType };
  return kind === 'overlay'
    ? { ...root, readOnly: true, overlay: { device: '/dev/vdb', fsType: 'ext4', grow: grows } }
    : { ...root, readOnly: false, own: true, grow: grows };
}

function modulesOf({ moduleDrivePath }: BootImage, { kind }: GuestLayer): object | undefined {
  const device = kind === 'overlay' ? '/dev/vdc' : '/dev/vdb';
  return moduleDrivePath === undefined ? undefined : { device, fsType: 'squashfs' };
}
