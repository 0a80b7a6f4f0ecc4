/**
 * Every code a {@link SmartVMError} can carry, with what it means and what to do about it.
 * docs/errors.md is this table in print; a test holds the two together.
 */
export const ERROR_CODES = {
  ADDRESS_TAKEN:
    'A VM that lives has the address already. `details.id` says which: stop that one, or take another address.',
  AGENT_FAILED: 'The guest agent refused or broke off a request. The message has its words.',
  AGENT_MISSING:
    "A VM was started without SmartVM's agent, by which its guest is reached. Those of `launch()` and `smartvm run` have it.",
  AGENT_TOO_OLD:
    'The agent of a VM that an older release of SmartVM has started lacks what is asked for. `details` has its protocol and the one that is needed. Start the VM anew.',
  AGENT_UNREACHABLE: 'The guest agent did not answer. Look at the console tail in the error.',
  API_BAD_ANSWER: 'The VMM answered with something that is not HTTP or not the expected JSON.',
  API_BUSY: 'The VMM serves as many connections as it can (503). Close some, or wait.',
  API_REFUSED: 'The VMM refused a request. `status`, `faultMessage`, `method` and `path` say which and why.',
  API_TIMEOUT: 'The VMM accepted a request and did not answer before its deadline.',
  API_UNREACHABLE: 'Nothing answers on the VMM API socket, or it hung up in the middle of a call.',
  BASE_IMAGE_ARTIFACT_FAILED: 'A kernel or root file system could not be copied, fetched or verified.',
  BASE_IMAGE_MANIFEST_FAILED: 'A base image manifest is missing or cannot be read.',
  BOOT_TIMEOUT: 'The guest was not ready in time. The error has the last lines of its console.',
  CANCELED: 'The AbortSignal of the call ended it.',
  CAPACITY_EXCEEDED:
    'What VMs may take of this host is taken. `details` says by whom; stop some, wait by `queueMs`, or allow more by `capacity`.',
  CGROUP_UNAVAILABLE:
    'The host does not let a VM be limited by cgroups. The message says which controllers are missing, and what to do.',
  CLEANUP_FAILED: 'Something that a VM held could not be released. The cause has every error; the rest is released.',
  DIRECTORY_UNSAFE: 'A directory belongs to another user, is a link or is open to others. Remove it or name another.',
  DOWNLOAD_CORRUPT: 'What was fetched has another size or sha256 than it should have. Nothing of it is kept.',
  DOWNLOAD_FAILED: 'A URL could not be fetched: network, proxy, TLS or status. The message says what to look at.',
  DOWNLOAD_REFUSED:
    'A URL or a redirect is one that is not followed: not https, or from a public to a private network.',
  EXEC_FAILED:
    'A process could not be executed in the guest: `details.exitCode` is 127 when it is not there, and 126 otherwise. Or a command with `reject` ended otherwise than with 0, or its input broke off.',
  EXEC_OUTPUT_LIMIT: 'A command wrote more than `maxOutputBytes`; its process group was ended.',
  EXEC_TIMEOUT: 'A command in the guest ran longer than its `timeoutMs`; its process group was ended.',
  FILE_WRITE_FAILED: 'A file of SmartVM could not be written; the cause has the system error.',
  GUEST_FILE_FAILED:
    'A file of the guest could not be read, written or changed. `details` has its `path`, and `errno` as ENOENT or ENOSPC, by the guest’s account.',
  GUEST_FILE_LIMIT: 'The guest has more than `maxBytes` or `maxEntries` allow. What was taken before stays.',
  GUEST_FILE_REFUSED:
    'What the guest sent is not as it must be: names that lead out of the target, wrong lengths, or no end. What was taken before stays.',
  GUEST_NETWORK_FAILED:
    'The guest could not set up its network as it was told to. `details.problems` says what of it, and why.',
  HOST_FILE_FAILED:
    'A file of the host could not be read or written on its way from or to a guest. `details` has `path` and `errno`.',
  IMAGE_AMBIGUOUS: 'Several images have a digest that begins so. `details.names` has them; give a whole name.',
  IMAGE_BUILD_FAILED: 'An image could not be built. The message has the tail of what the build tool said.',
  IMAGE_IN_USE: 'An image is not removed: VMs have it. `details.vms` has their ids.',
  IMAGE_KERNEL_UNSUPPORTED: 'A kernel cannot boot on this VMM. The message names kernels that can.',
  IMAGE_PART_INVALID: 'A part of an image is larger than it may be, has another sha256, or is no regular file.',
  IMAGE_PULL_FAILED:
    'An OCI image could not be pulled: network, credentials, or no such image. `details.reason` says which, the message how to go on.',
  IMAGE_REFUSED:
    'An OCI image is not as it must be: other digests, another architecture, members that lead out of it, over a limit.',
  IMAGE_UNKNOWN: 'No image of that name. The message has the forms that a name can have.',
  INIT_FAILED:
    'The init of the image is there and cannot be executed. `details.path` says which it is, the message why.',
  INIT_MISSING:
    "The image has no init of its own, which `init: 'image'` asks for. `details.lookedFor` has the paths at which there is none. Take an image that has one, or `init: 'agent'`.",
  INTERFACE_GONE: 'An interface that a network needs is not there, or has gone. The message says which.',
  INTERFACE_TAKEN:
    'An interface of the host has the name that a network would use, and is not of SmartVM. It is left as it is; name another.',
  INVALID_BASE_IMAGE_CACHE_LIMIT: '`maxStoredBaseImages` is not an integer of at least 1.',
  INVALID_BASE_IMAGE_MANIFEST: 'A base image manifest breaks a rule. The message says which.',
  INVALID_CONFIG: 'A VM configuration breaks rules. `details.errors` lists all of them.',
  INVALID_ID: 'An id is not 1 to 64 letters, digits or hyphens with a letter or digit first.',
  INVALID_INTERFACE_NAME:
    'An interface name is not a valid Linux interface name (1 to 15 characters, no space or slash).',
  INVALID_NETWORK: 'The definition of a network breaks rules. `details.errors` lists all of them.',
  INVALID_OPTION: 'An option has a value outside its range. The message says which and what it may be.',
  INVALID_STATE: 'The VM is in a state in which that call is not legal. `details` has the state.',
  INVALID_SUBNET: 'A subnet is not IPv4 CIDR notation with a prefix of /8 to /30.',
  IP_EXHAUSTED: 'Every address of the subnet is taken.',
  JAIL_FAILED: 'A VMM could not be shut into its jail. The message says at which step.',
  JAIL_PATH_UNREADABLE: 'A jailed VMM may not open a file that it is given, and the file system cannot map its owner.',
  JAIL_UNAVAILABLE: 'Only root can jail a VMM. Run as root, or give up the wall with `jail: false`.',
  JAILER_MISMATCH:
    'The jailer and Firecracker are of different versions. Run `smartvm install`, or name the right one; `jail: false` gives up the wall.',
  JAILER_MISSING:
    "Firecracker's jailer was not found. Run `smartvm install`, or name one; `jail: false` gives up the wall.",
  KEEPER_FAILED: 'The keeper of a VM could not be started, or broke off.',
  LAYER_DAMAGED: 'A layer that was kept cannot be used any more. The message says what is wrong with it.',
  LAYER_IN_USE: 'A layer that is kept is a running VM’s. `details.usedBy` is its id; one layer is one VM’s at a time.',
  LAYER_MISMATCH: 'A layer that was kept is of another kind, or lies over another image, than what is asked for.',
  LAYER_NOT_FOUND: 'No layer of that name is kept.',
  LAYER_UNSUPPORTED:
    'The image or the file system of the host cannot have that kind of layer. Let it be chosen: `auto`.',
  MEMORY_EXCEEDED: 'The VM asks for more memory than the host has.',
  NAME_TAKEN: 'A VM that lives has the name already. `details` says which: stop that one, or take another name.',
  NET_ADMIN_MISSING:
    'Interfaces and rules of the host take the capability CAP_NET_ADMIN. Run as root, or use the network `user` on smartvm-qemu.',
  NETWORK_EXISTS: 'There is a network of that name already, or it is up with another definition.',
  NETWORK_FAILED: 'A network could not be set up or changed. The message has the words of ip(8) or nft(8).',
  NETWORK_IN_USE: 'VMs of the network run. `details.ids` has them; stop them first.',
  NETWORK_UNKNOWN: 'There is no network of that name. The message lists those there are.',
  NETWORK_UNSUPPORTED: 'What is asked of a network, its mode or the VMM cannot do. The message says what can.',
  NETWORKS_ELSEWHERE:
    'Programs with another `SMARTVM_RUNTIME_DIR` have networks on this host, or have left some. The message says which, and how those of dead VMs are removed: else use the same, or a network namespace.',
  NO_CLIENT: 'The VM has not been started, so there is no API to call.',
  PACKAGE_DAMAGED:
    'A program that comes with the package is missing, or is not as it was built. Install the package again, or build the clone.',
  PORT_TAKEN:
    'A port of the host that was to be published is another program’s, or another VM’s. `details` has `hostIp`, `hostPort` and `protocol`; take another, or 0 for any that is free.',
  PORT_UNREACHABLE:
    'Nothing in the guest answers at a port or Unix socket. `details` has which; `waitForPort()` waits until something does.',
  PROCESS_NOT_FOUND: 'No process of that number was started by `spawn()`, or it has ended long ago.',
  READY_TIMEOUT:
    'What a VM was to be ready for did not come in time. The message and `details.failed` name the waits, and what they saw last: look at that server or command, or allow more by `readyTimeoutMs`.',
  RECORD_UNREADABLE:
    'The record of a VM is of a later release of SmartVM, or damaged. Nothing of the VM is touched; `details` has the path.',
  RELEASE_INVALID: 'A fetched release of Firecracker is not what it should be. Nothing of it is kept.',
  SOCKET_PATH_TOO_LONG: 'A Unix socket path is longer than 107 bytes. Use a shorter runtime directory or id.',
  START_FAILED: 'A step of the start failed; what the steps before it had made is undone. The cause says why.',
  SUBNET_OVERLAPS:
    'A subnet has addresses of another network, or of a route of the host. `details.other` says which; name another subnet.',
  TOOL_FAILED: 'A host tool exited with an error. The message has its last words.',
  TOOL_MISSING: 'A host tool is not installed. The message says which command installs it.',
  UID_EXHAUSTED: 'Every uid of the range for VMs is taken. Stop some VMs, or give a larger range.',
  VM_AMBIGUOUS: 'Several VMs have that name, or an id that begins so. `details.ids` has them; give a whole id.',
  VM_EXISTS: 'A VM with that id exists already.',
  VM_NOT_FOUND: 'No VM of that id runs: there is no directory of it, or it has ended.',
  VMM_EXITED: 'The VMM process ended. `details` has its exit code or signal, and the tail of its output.',
  VMM_NOT_FOUND: 'Neither a Firecracker with a usable KVM nor QEMU was found. Run `smartvm install --with-deps`.',
  VMM_SPAWN_FAILED: 'The VMM executable could not be started.',
  VMM_TOO_OLD:
    'The VMM lacks what a configuration or call asks for. `details` has its version and the one that is needed.',
} as const;

export type SmartVMErrorCode = keyof typeof ERROR_CODES;

export interface SmartVMErrorOptions {
  cause?: unknown;
  /** Facts about the failure that a program can use. Never secrets. */
  details?: Readonly<Record<string, unknown>>;
}

/** The one error class that SmartVM throws. Tell errors apart by `code`, never by `message`. */
export class SmartVMError extends Error {
  override readonly name = 'SmartVMError';
  readonly code: SmartVMErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: SmartVMErrorCode, message: string, options: SmartVMErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** True for a `SmartVMError` with one of these codes (any code when none is given). */
export function isSmartVMError(error: unknown, ...codes: SmartVMErrorCode[]): error is SmartVMError {
  return error instanceof SmartVMError && (codes.length === 0 || codes.includes(error.code));
}
