import type { LeftFile } from '../../util/temporary-file.js';

/** Something that a prune removes. */
export interface CollectedThing {
  /**
   * A part that nobody has; a layer of an OCI image, and what was noted of it; the folder of a dead build; what has come of a transfer
   * that was killed or canceled; something that was set aside; a file that a program was writing when it was killed.
   */
  readonly kind: 'image-part' | 'image-layer' | 'image-build' | 'image-transfer' | 'image-damaged' | 'temporary-file';
  /** Its path. */
  readonly name: string;
  readonly sizeBytes: number;
}

export function leftFiles(kind: CollectedThing['kind'], files: readonly LeftFile[]): CollectedThing[] {
  return files.map(({ path, sizeBytes }) => ({ kind, name: path, sizeBytes }));
}
