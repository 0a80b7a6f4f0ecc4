import { SmartVMError } from '../errors.js';

/** What an image says of the programs in it. OCI's names and meanings (image-spec, config.md). */
export interface ImageConfig {
  /** The environment of every program. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Where programs start. */
  readonly workingDir?: string | undefined;
  /** Who they run as: a name or an id of the guest's /etc/passwd, and behind a colon a group. */
  readonly user?: string | undefined;
  /** The image's own command: `entrypoint` with `cmd` behind it. */
  readonly entrypoint?: readonly string[] | undefined;
  readonly cmd?: readonly string[] | undefined;
  /** Where it listens: `8080/tcp`. Nothing is opened by it. */
  readonly exposedPorts?: readonly string[] | undefined;
  /** What asks the image's own command to end. */
  readonly stopSignal?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

export interface ImageCommandOptions {
  /** In place of the image's `cmd`. */
  readonly args?: readonly string[] | undefined;
  /** In place of the image's `entrypoint`; the image's `cmd` is then left out, too. Empty: no entrypoint. */
  readonly entrypoint?: readonly string[] | undefined;
}

/**
 * The argument vector of an image's own command, as docker puts it together: arguments take the place of `cmd`, an
 * entrypoint that of `entrypoint` and `cmd`.
 * @throws SmartVMError INVALID_OPTION where that leaves nothing to run
 */
export function imageCommand(config: ImageConfig | undefined, options: ImageCommandOptions = {}): readonly string[] {
  const { entrypoint = config?.entrypoint ?? [], args } = options;
  const cmd = options.entrypoint === undefined ? config?.cmd : undefined;
  const command = [...entrypoint, ...(args ?? cmd ?? [])];
  if (command.length === 0) {
    throw new SmartVMError('INVALID_OPTION', 'the image has no command of its own: give one');
  }
  return command;
}
