/** A mount as proc_pid_mountinfo(5) has it. */
export interface Mount {
  /** What of the file system is mounted there: not `/` of a bind mount. */
  readonly root: string;
  readonly point: string;
  readonly type: string;
  /** Those of the file system itself, such as the controllers of a cgroup hierarchy. */
  readonly superOptions: readonly string[];
}

/** Where the kernel says what is mounted in this program's view of the host. */
export const MOUNTINFO = '/proc/self/mountinfo';

export function parseMountinfo(text: string): Mount[] {
  return text.split('\n').flatMap((line) => {
    // The number of fields before the hyphen varies.
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root, point] = before.split(' ');
    const [type, , superOptions] = after.split(' ');
    return root === undefined || point === undefined || type === undefined || superOptions === undefined
      ? []
      : [{ root: plain(root), point: plain(point), type, superOptions: superOptions.split(',') }];
  });
}

/** Spaces and the like are octal escapes. */
function plain(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_all, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
