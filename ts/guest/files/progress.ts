import type { TransferProgress } from './types.js';

type Tell = (progress: TransferProgress) => void;

/** Moves a tree that tells of its progress. What the callback throws ends that, and comes out as it is. */
export async function telling<T>(
  onProgress: Tell | undefined,
  end: () => void,
  move: (tell: Tell | undefined) => Promise<T>,
): Promise<T> {
  let thrown: { readonly error: unknown } | undefined;
  const tell = (progress: TransferProgress) => {
    try {
      onProgress?.(progress);
    } catch (error) {
      thrown ??= { error };
      end();
      throw error;
    }
  };
  try {
    return await move(onProgress && tell);
  } catch (error) {
    throw thrown ? thrown.error : error;
  }
}
