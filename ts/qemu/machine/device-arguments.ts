import type { Balloon, Entropy, MemoryHotplug, Pmem } from '../api/device-bodies.js';

/** The QEMU ids of devices of which there is at most one. */
export const BALLOON_PATH = '/machine/peripheral/balloon';
export const MEMORY_HOTPLUG_PATH = '/machine/peripheral/mem';

/** A persistent memory device and the length of its file. */
export interface CheckedPmem {
  readonly config: Pmem;
  readonly sizeBytes: number;
}

export function balloonArguments({ deflate_on_oom, free_page_reporting }: Balloon): string[] {
  const device = {
    driver: 'virtio-balloon-pci',
    id: 'balloon',
    'deflate-on-oom': deflate_on_oom,
    'free-page-reporting': free_page_reporting,
  };
  return ['-device', JSON.stringify(device)];
}

/** QEMU counts bytes in a period, as a bucket of Firecracker's does; it has no limit on requests and no burst. */
export function entropyArguments({ rate_limiter }: Entropy): string[] {
  const bucket = rate_limiter?.bandwidth;
  const limit = bucket ? { 'max-bytes': bucket.size, period: Math.min(bucket.refill_time, 2 ** 32 - 1) } : {};
  return [
    ...['-object', 'rng-random,id=entropy-source,filename=/dev/urandom'],
    ...['-device', JSON.stringify({ driver: 'virtio-rng-pci', id: 'entropy', rng: 'entropy-source', ...limit })],
  ];
}

/** Memory that the guest plugs block by block as it is asked to; the host gives it out as it is touched. */
export function memoryHotplugArguments({ total_size_mib, block_size_mib }: MemoryHotplug): string[] {
  const device = {
    driver: 'virtio-mem-pci',
    id: 'mem',
    memdev: 'hotplug-memory',
    'block-size': block_size_mib * 2 ** 20,
    'requested-size': 0,
  };
  return [
    ...['-object', `memory-backend-ram,id=hotplug-memory,size=${total_size_mib}M,reserve=off`],
    ...['-device', JSON.stringify(device)],
  ];
}

export function pmemArguments({ config, sizeBytes }: CheckedPmem, index: number): string[] {
  const backend = {
    'qom-type': 'memory-backend-file',
    id: `pmem${index}-file`,
    'mem-path': config.path_on_host,
    size: sizeBytes,
    share: true,
    readonly: config.read_only,
  };
  return [
    ...['-object', JSON.stringify(backend)],
    ...['-device', JSON.stringify({ driver: 'virtio-pmem-pci', id: `pmem${index}`, memdev: backend.id })],
  ];
}
