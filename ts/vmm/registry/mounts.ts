import { readFile } from 'node:fs/promises';

/** What is mounted on a directory or in it, in this program's view of the host. */
export async function mountsBelow(path: string): Promise<string[]> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
  // proc_pid_mountinfo(5): the fifth field is the mount point, with spaces and the like as octal escapes.
  const points = lines.map((line) => plain(line.split(' ')[4] ?? ''));
  return points.filter((point) => point === path || point.startsWith(`${path}/`));
}

function plain(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_all, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
