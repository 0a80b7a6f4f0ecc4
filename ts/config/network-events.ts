/** Why a guest's frame is dropped on its wire: docs/network-policy.md. */
export type FrameDrop = 'bad_mac' | 'bad_ip' | 'bad_arp' | 'bad_nd' | 'bad_type' | 'isolated';

export interface DropCount {
  readonly packets: number;
  readonly bytes: number;
}

/** Packets of one guest to one destination that its policy refused. */
export interface RefusedAttempt extends DropCount {
  readonly from: string;
  readonly to: string;
  /** `tcp`, `udp`, `icmp`, `ipv6-icmp` or a number. */
  readonly protocol: string;
  /** Absent with ICMP. */
  readonly port?: number;
  /** Type and code, with ICMP alone. */
  readonly icmp?: { readonly type: number; readonly code: number };
  /** Milliseconds since the last one. */
  readonly ageMs: number;
}

/** What the host has refused of one interface of a VM. */
export interface InterfaceCounters {
  readonly ifaceId: string;
  /** Packets that its policy refused. */
  readonly denied: DropCount;
  /** Which those were, for ten minutes after the last to each destination. All guests of the host share 16,384 places. */
  readonly refused: readonly RefusedAttempt[];
  /** Frames that were dropped on its wire. */
  readonly frames: Readonly<Partial<Record<FrameDrop, DropCount>>>;
}

export type NetworkEvent =
  /** The policy has refused something to the guest: so many packets to one destination since the last look. */
  | ({ readonly type: 'denied'; readonly ifaceId: string } & Omit<RefusedAttempt, 'bytes' | 'ageMs'>)
  /** Frames of the guest were dropped on its wire. */
  | { readonly type: 'dropped'; readonly ifaceId: string; readonly reason: FrameDrop; readonly packets: number }
  /** Somebody has removed the interface from the host. Nothing brings it back to a VM that runs: start it anew. */
  | { readonly type: 'gone'; readonly ifaceId: string; readonly tapName: string }
  /** Somebody had removed rules or the bridge of the network; they are there again. */
  | { readonly type: 'repaired'; readonly ifaceId: string };

export interface WatchOptions {
  /** Ends it. Default: it ends with the VM's place in networks. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds between two looks. Default 1,000. */
  readonly intervalMs?: number | undefined;
}
