import { createHash } from 'node:crypto';
import { type ArtifactServer, artifactServer } from './artifact-server.js';

export interface CiBucket extends ArtifactServer {
  readonly bucketUrl: string;
  /** Its objects; to be changed by tests. */
  readonly objects: Map<string, Buffer>;
}

const etagOf = (data: Buffer) => `"${createHash('md5').update(data).digest('hex')}"`;
const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;');

/** A bucket on loopback that answers ListObjectsV2 as S3 does, a few keys a page, and GETs with ETag. */
export async function ciBucket(keys: readonly string[], pageSize = 3): Promise<CiBucket> {
  const objects = new Map(keys.map((key) => [key, Buffer.from(`the content of ${key}`)]));
  const server = await artifactServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://bucket');
    if (url.searchParams.get('list-type') === '2') {
      response.writeHead(200, { 'content-type': 'application/xml' }).end(listing(objects, url.searchParams, pageSize));
      return;
    }
    const data = objects.get(url.pathname.slice('/bucket/'.length));
    if (data === undefined) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'content-length': data.length, etag: etagOf(data) }).end(data);
  });
  return Object.assign(server, { bucketUrl: server.url('/bucket'), objects });
}

function listing(objects: ReadonlyMap<string, Buffer>, query: URLSearchParams, pageSize: number): string {
  const [prefix, delimiter] = [query.get('prefix') ?? '', query.get('delimiter')];
  const keys = [...objects.keys()].filter((key) => key.startsWith(prefix)).toSorted();
  const folderOf = (key: string) => {
    const end = delimiter ? key.indexOf(delimiter, prefix.length) : -1;
    return end < 0 ? undefined : key.slice(0, end + 1);
  };
  const entries = [...new Set(keys.map((key) => folderOf(key) ?? key))];
  const token = query.get('continuation-token');
  const start = token === null ? 0 : Number(Buffer.from(token, 'base64').toString());
  const page = entries.slice(start, start + pageSize);
  const next = start + pageSize < entries.length ? Buffer.from(String(start + pageSize)).toString('base64') : undefined;
  const contents = page.map((entry) => {
    const data = objects.get(entry);
    return data
      ? `<Contents><Key>${escaped(entry)}</Key><LastModified>2026-09-23T10:00:00.000Z</LastModified><ETag>${escaped(etagOf(data))}</ETag><Size>${data.length}</Size><StorageClass>STANDARD</StorageClass></Contents>`
      : `<CommonPrefixes><Prefix>${escaped(entry)}</Prefix></CommonPrefixes>`;
  });
  return [
    '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
    `<Name>spec.ccfc.min</Name><Prefix>${prefix}</Prefix><KeyCount>${page.length}</KeyCount><MaxKeys>${pageSize}</MaxKeys>`,
    `<IsTruncated>${next !== undefined}</IsTruncated>`,
    ...(next === undefined ? [] : [`<NextContinuationToken>${next}</NextContinuationToken>`]),
    ...contents,
    '</ListBucketResult>',
  ].join('');
}
