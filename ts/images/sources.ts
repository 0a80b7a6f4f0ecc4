import { baseImageRecipe, buildFromBaseImage } from './base-image-source.js';
import { buildDebianImage, DEBIAN_RECIPE } from './debian-image.js';
import { buildDirectoryRoot, directoryRecipe } from './directory-image.js';
import type { Arch, ImageContent, ProgressListener } from './image-types.js';
import { buildOciRoot, ociRecipe } from './oci/oci-source.js';
import type { ImageReference, ReferenceKind } from './reference.js';
import type { PackedFsType } from './root-file-system.js';
import type { BlobRef } from './store/blobs.js';
import type { BuildSession } from './store/build-session.js';
import type { ImageManifest } from './store/manifests.js';

type ReferenceOf<Kind extends ReferenceKind> = Extract<ImageReference, { kind: Kind }>;

/** What a source is given to make an image. */
export interface ImageBuild {
  readonly arch: Arch;
  /** The images' folder, for what a source keeps beside the store. */
  readonly cacheDir: string;
  /** Where the image's parts go, and a folder for the work. */
  readonly session: BuildSession;
  readonly onProgress: ProgressListener;
  readonly signal?: AbortSignal | undefined;
  /** The manifest of another image, made where it is missing: what it names may be part of this one too. */
  readonly base: (name: string) => Promise<ImageManifest>;
}

/** Where images of one kind of reference come from. */
export interface ImageSource<Kind extends ReferenceKind> {
  /**
   * Decides whether an image that is there is up to date: it is made again where this has changed. Asked at every use, so it
   * looks at this host alone, and briefly. @throws SmartVMError IMAGE_UNKNOWN
   */
  recipe(reference: ReferenceOf<Kind>, arch: Arch): string | Promise<string>;
  build(reference: ReferenceOf<Kind>, build: ImageBuild): Promise<ImageContent>;
}

const BASE_IMAGE = { recipe: baseImageRecipe, build: buildFromBaseImage } as const;

/** One source a kind of reference. */
const SOURCES: { readonly [Kind in ReferenceKind]: ImageSource<Kind> } = {
  debian: { recipe: () => DEBIAN_RECIPE, build: ({ debian }, build) => buildDebianImage(debian, build) },
  oci: {
    recipe: ({ target }) => ociRecipe(target),
    build: ({ target, fsType }, build) =>
      withDebianKernel(build, fsType, () => buildOciRoot(target, { ...build, fsType })),
  },
  directory: {
    recipe: ({ path }) => directoryRecipe(path),
    build: ({ path, fsType }, build) => withDebianKernel(build, fsType, () => buildDirectoryRoot(path, fsType, build)),
  },
  manifest: BASE_IMAGE,
  hosted: BASE_IMAGE,
  preset: BASE_IMAGE,
};

/** What is made of other people's files boots by the kernel of the `debian` image, which is made once. */
async function withDebianKernel(
  build: ImageBuild,
  fsType: PackedFsType,
  makeRoot: () => Promise<MadeRoot>,
): Promise<ImageContent> {
  const { rootfs, ...said } = await makeRoot(); // first: it can fail, and the kernel may take a minute
  const { kernelRelease, bootArgs, blobs } = await build.base('debian');
  const { kernel, modules, moduleTree } = blobs;
  return {
    ...{ kernelRelease, bootArgs, fsType, ...said },
    blobs: { kernel, modules, rootfs, ...(moduleTree ? { moduleDrive: moduleTree } : {}) },
  };
}

interface MadeRoot extends Pick<ImageContent, 'config' | 'source'> {
  readonly rootfs: BlobRef;
}

export function sourceOf<Kind extends ReferenceKind>(reference: ReferenceOf<Kind>): ImageSource<Kind> {
  return SOURCES[reference.kind as Kind] as ImageSource<Kind>;
}
