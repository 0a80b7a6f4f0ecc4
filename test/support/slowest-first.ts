import { basename } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** The files that take longest, by their names. One of them that came last would run alone, all other workers idle. */
const SLOWEST = [
  ...['kills', 'attach', 'guest-init', 'guest-files', 'images-build', 'cli-run', 'guest-exec'],
  ...['network-guests', 'launch', 'guest-ports', 'cli-detached', 'ready', 'oci-run', 'network-policy'],
  ...['qemu-debian', 'network-vms', 'network-faults', 'exited', 'network-clones', 'cycles', 'layers'],
  ...['network-programs', 'examples', 'lifetime', 'secrets'],
];

const rank = ({ moduleId }: TestSpecification) => {
  const index = SLOWEST.indexOf(basename(moduleId, '.test.ts'));
  return index < 0 ? SLOWEST.length : index;
};

export class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}
