import type { MachineConfig } from '../api/bodies.js';
import type { CheckedBootSource } from '../resources/boot-source.js';
import type { BackingFile, CheckedDrive } from '../resources/drives.js';
import type { CheckedInterface } from '../resources/network.js';
import type { Accelerator } from './accelerator.js';

/** Where QEMU finds what it inherits. */
export const QMP_FD = 3;
export const VSOCK_FD = 4;
export const FIRST_TAP_FD = 5;

/** The agent looks for its port under this name. */
const VSOCK_PORT_NAME = 'dev.smartvm.vsock';

export interface MachineSpec {
  readonly arch: NodeJS.Architecture;
  readonly accelerator: Accelerator;
  readonly machineConfig: MachineConfig;
  readonly bootSource: CheckedBootSource;
  readonly drives: readonly CheckedDrive[];
  readonly interfaces: readonly CheckedInterface[];
  readonly hasVsock: boolean;
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

/** QEMU's arguments. The machine waits for `cont`, so that no event is missed. */
export function qemuArguments(spec: MachineSpec): string[] {
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-no-shutdown', '-S'],
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...machineArguments(spec),
    ...memoryArguments(spec.machineConfig),
    ...bootArguments(spec),
    ...['-chardev', `socket,id=qmp,fd=${QMP_FD}`, '-mon', 'chardev=qmp,mode=control'],
    ...['-chardev', 'stdio,id=console,signal=off', '-serial', 'chardev:console'],
    ...spec.drives.flatMap(driveArguments),
    ...spec.interfaces.flatMap(interfaceArguments),
    ...(spec.hasVsock ? vsockArguments() : []),
  ];
}

function machineArguments({ arch, accelerator, machineConfig }: MachineSpec): string[] {
  const threads = machineConfig.smt && machineConfig.vcpu_count > 1 ? 2 : 1;
  const backend = machineConfig.huge_pages === '2M' ? ',memory-backend=ram' : '';
  const machine = arch === 'arm64' ? 'virt,gic-version=max' : 'q35,sata=off,smbus=off,vmport=off';
  return [
    ...['-machine', `${machine},usb=off,graphics=off,dump-guest-core=off${backend}`],
    ...['-accel', accelerator === 'kvm' ? 'kvm' : 'tcg,thread=multi'],
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

function memoryArguments({ mem_size_mib: mib, huge_pages }: MachineConfig): string[] {
  const size = ['-m', `size=${mib}M`];
  return huge_pages === '2M'
    ? [...size, '-object', `memory-backend-memfd,id=ram,size=${mib}M,hugetlb=on,hugetlbsize=2M`]
    : size;
}

function bootArguments({ bootSource, drives }: MachineSpec): string[] {
  const { kernel_image_path: kernel, initrd_path: initrd } = bootSource.config;
  const root = drives.find((drive) => drive.isRoot);
  const rootArguments = root
    ? [root.partuuid === null ? 'root=/dev/vda' : `root=PARTUUID=${root.partuuid}`, root.isReadOnly ? 'ro' : 'rw']
    : [];
  return [
    ...['-kernel', kernel],
    ...(initrd === null ? [] : ['-initrd', initrd]),
    ...['-append', bootSource.cmdline.with(...rootArguments).toString()],
  ];
}

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

function interfaceArguments({ config, mac }: CheckedInterface, index: number): string[] {
  const mtu = config.mtu === null ? '' : `,host_mtu=${config.mtu}`;
  return [
    ...['-netdev', `tap,id=net${index},fd=${FIRST_TAP_FD + index},vhost=off`],
    ...['-device', `virtio-net-pci,id=nic${index},netdev=net${index},mac=${mac},romfile=${mtu}`],
  ];
}

function vsockArguments(): string[] {
  return [
    ...['-chardev', `socket,id=vsock,fd=${VSOCK_FD}`],
    ...['-device', 'virtio-serial-pci,id=vsock-bus,max_ports=2'],
    ...['-device', `virtserialport,id=vsock-port,bus=vsock-bus.0,chardev=vsock,name=${VSOCK_PORT_NAME}`],
  ];
}
