/** How a VMM does what the API offers: as Firecracker does, differently in some respect, by the API alone, or not at all. */
export type Support = 'full' | 'differs' | 'accepted' | 'none';

export interface Feature {
  readonly name: string;
  readonly qemu: Support;
  /** What is different with smartvm-qemu, or what comes back instead; empty for `full`. */
  readonly note: string;
}

/**
 * What `smartvm-qemu` makes of Firecracker's features. Firecracker itself has them all, from the versions that brought them. Statuses and fault
 * messages are the same on both, whatever stands here.
 */
export const VMM_FEATURES = {
  drives: { name: 'Drives, updated at run time', qemu: 'full', note: '' },
  driveLimits: {
    name: 'Rate limits of drives',
    qemu: 'differs',
    note: "QEMU's throttle: the one-time burst has no effect.",
  },
  vhostUserDrives: { name: 'vhost-user drives', qemu: 'none', note: 'Refused when they are configured.' },
  network: { name: 'Network interfaces', qemu: 'full', note: '' },
  userNetwork: {
    name: 'User networking',
    qemu: 'differs',
    note: "Beyond the API: the `host_dev_name` `user:` is QEMU's own network, `user:none` one without a way out. Firecracker refuses the name.",
  },
  networkLimits: {
    name: 'Rate limits of network interfaces',
    qemu: 'accepted',
    note: 'Kept and shown, without effect.',
  },
  vsockToGuest: { name: 'vsock, host to guest', qemu: 'differs', note: "Needs SmartVM's agent in the guest." },
  vsockToHost: { name: 'vsock, guest to host', qemu: 'none', note: 'A dial of the guest to its host is refused.' },
  balloon: { name: 'Balloon and its statistics', qemu: 'full', note: '' },
  balloonReporting: { name: 'Free page reporting', qemu: 'full', note: '' },
  balloonHinting: {
    name: 'Free page hinting',
    qemu: 'none',
    note: 'Starting a run answers as if it had not been enabled.',
  },
  entropy: { name: 'Entropy device', qemu: 'full', note: '' },
  entropyLimits: {
    name: 'Rate limits of the entropy device',
    qemu: 'differs',
    note: 'Bandwidth only, without a burst.',
  },
  serialFile: { name: 'Serial output to a file', qemu: 'full', note: '' },
  serialLimits: { name: 'Rate limit of the serial output', qemu: 'accepted', note: 'Without effect.' },
  mmdsStore: { name: 'MMDS: store and configuration', qemu: 'full', note: '' },
  mmdsGuest: {
    name: 'MMDS: answers to the guest',
    qemu: 'differs',
    note: "By SmartVM's agent, over the vsock device, on no interface in particular; nothing else in the guest can take port 80 of all addresses.",
  },
  logger: {
    name: 'Logger',
    qemu: 'differs',
    note: 'Without a file there is no log: standard output is the console alone.',
  },
  metrics: {
    name: 'Metrics',
    qemu: 'differs',
    note: 'What QEMU does not tell is zero: requests, times and drives are counted.',
  },
  cpuTemplates: {
    name: 'Static CPU templates',
    qemu: 'none',
    note: 'The start is refused: no model of QEMU is one of theirs.',
  },
  cpuConfig: { name: 'Custom CPU templates', qemu: 'accepted', note: 'Checked, without effect.' },
  hugePages: { name: 'Huge pages', qemu: 'full', note: '' },
  pmem: { name: 'Persistent memory', qemu: 'differs', note: 'Rate limits have no effect.' },
  memoryHotplug: { name: 'Memory hotplug', qemu: 'differs', note: 'No snapshot while memory is plugged in.' },
  pciHotplug: { name: 'Hotplug of devices', qemu: 'none', note: 'Answers as a Firecracker without `--enable-pci`.' },
  snapshots: {
    name: 'Snapshots',
    qemu: 'differs',
    note: 'Files of its own format; not read by Firecracker, nor the other way round.',
  },
  diffSnapshots: { name: 'Differential snapshots', qemu: 'differs', note: 'Hold all of the memory.' },
  uffd: { name: 'Memory served by UFFD', qemu: 'none', note: 'The load is refused.' },
  clockRealtime: { name: 'Clock set forward at a load', qemu: 'accepted', note: 'Without effect.' },
  seccompFilter: { name: 'Seccomp filter of your own', qemu: 'accepted', note: "QEMU's own sandbox is on." },
  bootTimer: { name: 'Boot timer', qemu: 'accepted', note: 'Without effect.' },
} as const satisfies Readonly<Record<string, Feature>>;
