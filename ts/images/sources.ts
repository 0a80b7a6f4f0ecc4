import { buildDebianImage, DEBIAN_RECIPE } from './debian-image.js';
import type { Arch, ImageContent, ProgressListener } from './image-types.js';
import { type ImageReference, type ReferenceKind, unknownImage } from './reference.js';
import type { BuildSession } from './store/build-session.js';
import type { ImageManifest } from './store/manifests.js';

type ReferenceOf<Kind extends ReferenceKind> = Extract<ImageReference, { kind: Kind }>;

/** What a source is given to make an image. */
export interface ImageBuild {
  readonly arch: Arch;
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
  recipe(reference: ReferenceOf<Kind>): string | Promise<string>;
  build(reference: ReferenceOf<Kind>, build: ImageBuild): Promise<ImageContent>;
}

/** One source a kind of reference. */
const SOURCES: { readonly [Kind in ReferenceKind]?: ImageSource<Kind> } = {
  debian: { recipe: () => DEBIAN_RECIPE, build: ({ debian }, build) => buildDebianImage(debian, build) },
};

/** @throws SmartVMError IMAGE_UNKNOWN */
export function sourceOf<Kind extends ReferenceKind>(reference: ReferenceOf<Kind>): ImageSource<Kind> {
  const source = SOURCES[reference.kind as Kind] as ImageSource<Kind> | undefined;
  if (!source) {
    throw unknownImage(reference.name, `an image of the kind ${reference.kind} cannot be made so far`);
  }
  return source;
}
