import { inflateRawSync } from 'node:zlib';

// PKWARE's APPNOTE.TXT: end of central directory (4.3.16), central directory header (4.3.12), local file header (4.3.7).
const END = 0x06054b50;
const CENTRAL = 0x02014b50;
const END_BYTES = 22;
const CENTRAL_BYTES = 46;
const LOCAL_BYTES = 30;
const DEFLATED = 8;

/** The files of a zip archive under 4 GiB, one after the other: `{ name, data }`. The archive is trusted: check its sum first. */
export function* unzip(zip) {
  const end = findEnd(zip);
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left -= 1) {
    if (zip.readUInt32LE(at) !== CENTRAL) {
      throw new Error('the zip archive is damaged, or of the 64-bit kind');
    }
    const nameBytes = zip.readUInt16LE(at + 28);
    const name = zip.toString('utf8', at + CENTRAL_BYTES, at + CENTRAL_BYTES + nameBytes);
    const local = zip.readUInt32LE(at + 42);
    const start = local + LOCAL_BYTES + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    const packed = zip.subarray(start, start + zip.readUInt32LE(at + 20));
    if (!name.endsWith('/')) {
      yield { name, data: zip.readUInt16LE(at + 10) === DEFLATED ? inflateRawSync(packed) : packed };
    }
    at += CENTRAL_BYTES + nameBytes + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
}

function findEnd(zip) {
  for (let at = zip.length - END_BYTES; at >= 0; at -= 1) {
    if (zip.readUInt32LE(at) === END) {
      return at;
    }
  }
  throw new Error('not a zip archive');
}
