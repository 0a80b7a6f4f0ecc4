import { readFileSync } from 'node:fs';
import { MOUNTINFO, parseMountinfo } from '../../util/mountinfo.js';

/** What is mounted on a directory or in it, in this program's view of the host. */
export async function mountsBelow(path: string): Promise<string[]> {
  const points = parseMountinfo(readFileSync(MOUNTINFO, 'utf8')).map(({ point }) => point);
  return points.filter((point) => point === path || point.startsWith(`${path}/`));
}
