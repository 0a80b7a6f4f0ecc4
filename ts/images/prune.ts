import { sweepTemporaries } from '../util/temporary-file.js';
import type { BaseImageManager } from './base-image-manager.js';
import type { ImageManager } from './image-manager.js';
import { type CollectedThing, leftFiles } from './store/collected.js';

/** Removes from a data directory what no image and no VM has, and what programs have left there that were killed. */
export async function pruneData(
  dataDir: string,
  { imageManager, baseImageManager }: { imageManager: ImageManager; baseImageManager: BaseImageManager },
  options: { readonly dryRun?: boolean | undefined },
): Promise<CollectedThing[]> {
  return [
    ...(await imageManager.prune(options)),
    ...(await baseImageManager.prune(options)),
    ...leftFiles('temporary-file', await sweepTemporaries(dataDir, options.dryRun)),
  ];
}
