import type { MachineConfig } from '../api/bodies.js';
import type { Balloon, Entropy, MemoryHotplug } from '../api/device-bodies.js';
import type { CheckedBootSource } from '../resources/boot-source.js';
import type { BackingFile, CheckedDrive } from '../resources/drives.js';
import type { CheckedInterface } from '../resources/network.js';
import type { Accelerator } from './accelerator.js';
import {
  balloonArguments,
  type CheckedPmem,
  entropyArguments,
  memoryHotplugArguments,
  pmemArguments,
} from './device-arguments.js';

/** Where QEMU finds what it inherits. */
export const QMP_FD = 3;
export const VSOCK_FD = 4;
export const FIRST_TAP_FD = 5;

const MIB = 2 ** 20;
/** What the alignment of the devices in the memory above may cost. */
const SPARE_MIB = 8 * 1024;

/** Bounds the code that QEMU has translated, which would otherwise grow to an eighth of the host's memory, up to 1 GiB. */
const TRANSLATED_MIB = 256;

/** The agent looks for its port under this name. */
const VSOCK_PORT_NAME = 'dev.smartvm.vsock';

export interface MachineSpec {
  readonly arch: NodeJS.Architecture;
  readonly accelerator: Accelerator;
  readonly machineConfig: MachineConfig;
  /** Not needed where a snapshot goes on. */
  readonly bootSource: CheckedBootSource | undefined;
  readonly drives: readonly CheckedDrive[];
  readonly interfaces: readonly CheckedInterface[];
  readonly pmem: readonly CheckedPmem[];
  readonly balloon: Balloon | null;
  readonly entropy: Entropy | null;
  readonly memoryHotplug: MemoryHotplug | null;
  readonly hasVsock: boolean;
  /** The machine waits for the state of its devices, out of a snapshot. */
  readonly incoming?: boolean;
  /** Where QEMU listens for the host's end of the vsock, which is not there yet; it inherits it otherwise. */
  readonly vsockPath?: string;
  /** The memory of the snapshot, to be mapped privately. */
  readonly memoryFile?: string;
}

/** Ids of a drive in QEMU. They are numbered: Firecracker's ids may hold letters that QEMU refuses. */
const driveDeviceId = (index: number) => `drive${index}`;
/** The part of a virtio-blk-pci device that holds its block backend. */
export const driveBackendPath = (index: number) => `/machine/peripheral/${driveDeviceId(index)}/virtio-backend`;
export const driveNodeName = (index: number) => `drive${index}-format`;
export const driveFileNodeName = (index: number, generation: number) => `drive${index}-file${generation}`;

export function qemuBinary(arch: NodeJS.Architecture): string {
  return arch === 'arm64' ? 'qemu-system-aarch64' : 'qemu-system-x86_64';
}

/** The state of the devices comes without QEMU's section on its configuration, which a snapshot has of its own. */
const INCOMING = ['-incoming', 'defer', '-global', 'migration.send-configuration=off'];

/** QEMU's arguments. The machine waits for `cont`, so that no event is missed. */
export function qemuArguments(spec: MachineSpec): string[] {
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-no-shutdown', '-S'],
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...machineArguments(spec),
    ...memoryArguments(spec),
    ...(spec.incoming ? INCOMING : bootArguments(spec)),
    ...['-chardev', `socket,id=qmp,fd=${QMP_FD}`, '-mon', 'chardev=qmp,mode=control'],
    ...['-chardev', 'stdio,id=console,signal=off', '-serial', 'chardev:console'],
    ...(spec.balloon ? balloonArguments(spec.balloon) : []),
    ...spec.drives.flatMap(driveArguments),
    ...spec.interfaces.flatMap(interfaceArguments),
    ...spec.pmem.flatMap(pmemArguments),
    ...(spec.hasVsock ? vsockArguments(spec.vsockPath) : []),
    ...(spec.entropy ? entropyArguments(spec.entropy) : []),
    ...(spec.memoryHotplug ? memoryHotplugArguments(spec.memoryHotplug) : []),
  ];
}

function machineArguments({ arch, accelerator, machineConfig }: MachineSpec): string[] {
  const threads = machineConfig.smt && machineConfig.vcpu_count > 1 ? 2 : 1;
  const machine = arch === 'arm64' ? 'virt,gic-version=max' : 'q35,sata=off,smbus=off,vmport=off';
  return [
    ...['-machine', `${machine},usb=off,graphics=off,dump-guest-core=off,suppress-vmdesc=on,memory-backend=ram`],
    ...['-accel', accelerator === 'kvm' ? 'kvm' : `tcg,thread=multi,tb-size=${TRANSLATED_MIB}`],
    ...['-cpu', cpuModel(arch, accelerator)],
    ...['-smp', `cpus=${machineConfig.vcpu_count},threads=${threads}`],
    ...(arch === 'arm64' ? [] : ['-bios', 'qboot.rom']),
  ];
}

/** Emulated, a model without the newest vector extensions boots faster than `max`, and ciphers run three times as fast. */
function cpuModel(arch: NodeJS.Architecture, accelerator: Accelerator): string {
  if (accelerator === 'kvm') {
    return 'host';
  }
  return arch === 'arm64' ? 'max,pauth-impdef=on' : 'qemu64,aes=on,pclmulqdq=on,ssse3=on,sse4.1=on';
}

/**
 * The guest's memory is a file of QEMU's, which a snapshot copies, or that of a snapshot, mapped privately: it stays as it is, and serves many.
 * pmem and hotplugged memory lie above it.
 */
function memoryArguments({ machineConfig, pmem, memoryHotplug, memoryFile }: MachineSpec): string[] {
  const { mem_size_mib: mib, huge_pages } = machineConfig;
  const aboveMib = (memoryHotplug?.total_size_mib ?? 0) + pmem.reduce((sum, { sizeBytes }) => sum + mibs(sizeBytes), 0);
  const huge = huge_pages === '2M' ? { hugetlb: true, hugetlbsize: 2 * MIB } : {};
  const backend = {
    id: 'ram',
    size: mib * MIB,
    ...(memoryFile === undefined
      ? { 'qom-type': 'memory-backend-memfd', share: true, ...huge }
      : { 'qom-type': 'memory-backend-file', share: false, 'mem-path': memoryFile }),
  };
  return [
    ...['-m', aboveMib === 0 ? `size=${mib}M` : `size=${mib}M,maxmem=${mib + aboveMib + SPARE_MIB}M`],
    ...['-object', JSON.stringify(backend)],
  ];
}

/** Whole MiB, rounded up. */
const mibs = (bytes: number) => Math.ceil(bytes / MIB);

function bootArguments({ arch, accelerator, bootSource, drives, pmem }: MachineSpec): string[] {
  if (!bootSource) {
    return [];
  }
  const { kernel_image_path: kernel, initrd_path: initrd } = bootSource.config;
  return [
    ...['-kernel', kernel],
    ...(initrd === null ? [] : ['-initrd', initrd]),
    ...[
      '-append',
      timerArgument(arch, accelerator) + bootSource.cmdline.with(...rootArguments(drives, pmem)).toString(),
    ],
  ];
}

/**
 * At boot the kernel counts timer interrupts against its own loop, and panics ("IO-APIC + timer doesn't work!") when an
 * emulated processor is not scheduled meanwhile. On KVM it leaves the check out by itself.
 */
function timerArgument(arch: NodeJS.Architecture, accelerator: Accelerator): string {
  return arch === 'x64' && accelerator === 'tcg' ? 'no_timer_check ' : '';
}

function rootArguments(drives: readonly CheckedDrive[], pmem: readonly CheckedPmem[]): string[] {
  const drive = drives.find(({ isRoot }) => isRoot);
  if (drive) {
    return [drive.partuuid === null ? 'root=/dev/vda' : `root=PARTUUID=${drive.partuuid}`, mode(drive.isReadOnly)];
  }
  const index = pmem.findIndex(({ config }) => config.root_device);
  return index < 0 ? [] : [`root=/dev/pmem${index}`, mode(pmem[index]?.config.read_only ?? false)];
}

const mode = (isReadOnly: boolean) => (isReadOnly ? 'ro' : 'rw');

/** The node that holds a drive's file. Its options are JSON, so that no character of a path means anything. */
export function fileNode(nodeName: string, file: BackingFile, { isReadOnly, cacheType }: CheckedDrive): object {
  return {
    'node-name': nodeName,
    driver: file.isBlockDevice ? 'host_device' : 'file',
    filename: file.path,
    'read-only': isReadOnly,
    'auto-read-only': false,
    // Firecracker takes no locks either, and the same file may be given to two drives.
    locking: 'off',
    cache: { 'no-flush': cacheType === 'Unsafe' },
  };
}

export function formatNode(index: number, fileNodeName: string, { isReadOnly, cacheType }: CheckedDrive): object {
  return {
    'node-name': driveNodeName(index),
    driver: 'raw',
    file: fileNodeName,
    'read-only': isReadOnly,
    cache: { 'no-flush': cacheType === 'Unsafe' },
  };
}

function driveArguments(drive: CheckedDrive, index: number): string[] {
  const fileNodeName = driveFileNodeName(index, 0);
  const device = {
    driver: 'virtio-blk-pci',
    id: driveDeviceId(index),
    drive: driveNodeName(index),
    serial: drive.file.serial,
    // The guest is told of an error; QEMU would stop the whole machine when the host's disk is full.
    werror: 'report',
    rerror: 'report',
  };
  return [
    ...['-blockdev', JSON.stringify(fileNode(fileNodeName, drive.file, drive))],
    ...['-blockdev', JSON.stringify(formatNode(index, fileNodeName, drive))],
    ...['-device', JSON.stringify(device)],
  ];
}

function interfaceArguments({ config, mac, tap }: CheckedInterface, index: number): string[] {
  const mtu = config.mtu === null ? '' : `,host_mtu=${config.mtu}`;
  return [
    ...[
      '-netdev',
      tap.fd === undefined
        ? userNetwork(tap.name, `net${index}`)
        : `tap,id=net${index},fd=${FIRST_TAP_FD + index},vhost=off`,
    ],
    ...['-device', `virtio-net-pci,id=nic${index},netdev=net${index},mac=${mac},romfile=${mtu}`],
  ];
}

/** The addresses that SmartVM tells the guest; the host's own loopback is behind that of the gateway, unless all is closed. */
function userNetwork(name: string, id: string): string {
  const isClosed = name === 'user:none' ? 'on' : 'off';
  return `user,id=${id},net=10.0.2.0/24,ipv6-net=fd00:0:0:2::/64,restrict=${isClosed}`;
}

function vsockArguments(path: string | undefined): string[] {
  const end = path === undefined ? `fd=${VSOCK_FD}` : `path=${path.replaceAll(',', ',,')},server=on,wait=off`;
  return [
    ...['-chardev', `socket,id=vsock,${end}`],
    ...['-device', 'virtio-serial-pci,id=vsock-bus,max_ports=2'],
    ...['-device', `virtserialport,id=vsock-port,bus=vsock-bus.0,chardev=vsock,name=${VSOCK_PORT_NAME}`],
  ];
}
