import { SmartVMError } from '../../errors.js';
import type { StoredImage } from '../../images/image-manager.js';
import type { Style } from '../vms/style.js';
import { SGR } from '../vms/style.js';
import type { Column } from '../vms/table.js';
import { bytesInWords, durationInWords } from '../vms/words.js';

/** As `--format` has an image: the names are `docker image ls`'s where it has such a field. */
export interface ImageRow {
  readonly Reference: string;
  readonly ID: string;
  readonly Digest: string;
  readonly Architecture: string;
  readonly Kernel: string;
  readonly CreatedAt: string;
  readonly CreatedSince: string;
  readonly LastUsedAt: string;
  readonly Size: string;
  readonly SizeBytes: number;
  /** What no other image has a part in. */
  readonly UniqueSize: string;
  readonly UniqueSizeBytes: number;
  readonly SharedSize: string;
  readonly SharedSizeBytes: number;
  /** Ids of VMs, and names of layers as `layer NAME`. */
  readonly UsedBy: readonly string[];
}

const SHORT_DIGITS = 12;

export function imageRow(image: StoredImage, now = Date.now()): ImageRow {
  const { name, digest, sizeBytes, ownBytes } = image;
  const sharedBytes = sizeBytes - ownBytes;
  return {
    Reference: name,
    ID: hexOf(digest).slice(0, SHORT_DIGITS),
    Digest: digest,
    Architecture: image.arch,
    Kernel: image.kernelRelease,
    CreatedAt: image.createdAt,
    CreatedSince: `${durationInWords(now - Date.parse(image.createdAt))} ago`,
    LastUsedAt: image.lastUsedAt,
    Size: bytesInWords(sizeBytes),
    SizeBytes: sizeBytes,
    UniqueSize: bytesInWords(ownBytes),
    UniqueSizeBytes: ownBytes,
    SharedSize: bytesInWords(sharedBytes),
    SharedSizeBytes: sharedBytes,
    UsedBy: image.usedBy,
  };
}

/** @param style on a terminal, a line is one line */
export function imageColumns({ columns: width }: Style): Column<ImageRow>[] {
  const usedBy = ({ UsedBy }: ImageRow) => UsedBy.join(', ');
  const all: Column<ImageRow>[] = [
    { title: 'REFERENCE', text: ({ Reference }) => Reference },
    { title: 'IMAGE ID', text: ({ ID }) => ID },
    { title: 'KERNEL', text: ({ Kernel }) => Kernel },
    { title: 'CREATED', text: ({ CreatedSince }) => CreatedSince },
    { title: 'SIZE', text: ({ Size }) => Size, right: true },
    {
      title: 'SHARED',
      text: ({ SharedSizeBytes, SharedSize }) => (SharedSizeBytes > 0 ? SharedSize : '-'),
      right: true,
    },
    { title: 'USED BY', text: (row) => usedBy(row) || '-', color: (row) => (usedBy(row) ? SGR.green : undefined) },
  ];
  const hidden = [...(width < 130 ? ['KERNEL'] : []), ...(width < 100 ? ['SHARED'] : [])];
  return all.filter(({ title }) => !hidden.includes(title));
}

/**
 * The image that somebody means by its name, or by the beginning of a digest that only one has.
 * @param nameOf a name as the images are called, such as `debian` for `debian:bookworm`; undefined for what is none
 * @throws SmartVMError IMAGE_UNKNOWN, IMAGE_AMBIGUOUS
 */
export function findImage(
  images: readonly StoredImage[],
  reference: string,
  nameOf: (reference: string) => string | undefined,
): StoredImage {
  const name = nameOf(reference);
  const named = images.filter((image) => image.name === reference || image.name === name);
  const found = named.length > 0 ? named : images.filter(({ digest }) => beginsSo(digest, reference));
  const [only, ...others] = found;
  if (only === undefined) {
    throw new SmartVMError(
      'IMAGE_UNKNOWN',
      `image ${reference} is not kept here; 'smartvm image ls' lists those that are`,
      {
        details: { reference },
      },
    );
  }
  if (others.length > 0) {
    const names = found.map((image) => image.name);
    const which =
      named.length > 0 ? `several images are called ${reference}` : `several images begin with ${reference}`;
    throw new SmartVMError('IMAGE_AMBIGUOUS', `${which}: ${names.join(', ')}`, { details: { reference, names } });
  }
  return only;
}

function beginsSo(digest: string, reference: string): boolean {
  const prefix = hexOf(reference);
  return /^[0-9a-f]{4,64}$/.test(prefix) && hexOf(digest).startsWith(prefix);
}

function hexOf(digest: string): string {
  return digest.replace(/^sha256:/, '');
}
