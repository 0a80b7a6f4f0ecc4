import { basename } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** The files that take longest, by their names. One of them that came last would run alone, all other workers idle. */
const SLOWEST = [
  ...['kills', 'images-build', 'launch', 'vmm-kills', 'cli-detached', 'examples', 'secrets', 'cli-run', 'lifetime'],
  ...['oci-run', 'exited', 'reclaim', 'cycles', 'attach', 'qemu-debian', 'layers', 'qemu-mmds'],
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
