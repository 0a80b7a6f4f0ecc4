import { describe, expect, it } from 'vitest';
import { type HttpRequest, RequestParser } from '../../../ts/qemu/http/request-parser.js';

const parser = () => new RequestParser(51_200, () => undefined);
const parse = (text: string | Buffer): HttpRequest[] => parser().push(Buffer.from(text));

describe('RequestParser', () => {
  it('reads a request that comes a byte at a time as it reads one that comes whole', () => {
    const text = 'PUT /actions HTTP/1.1\r\nHost: x\r\ncontent-length : 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n';
    const whole = parse(text);
    const bytewise = parser();
    expect([...Buffer.from(text)].flatMap((byte) => bytewise.push(Buffer.of(byte)))).toEqual(whole);
    expect(whole).toEqual([
      { method: 'PUT', path: '/actions', body: Buffer.from('abc') },
      { method: 'GET', path: '/', body: undefined },
    ]);
  });

  it.each([
    ['http://host/version', '/version'],
    ['http://host', ''],
    ['version', ''],
  ])('takes the path of %s to be %j', (uri, path) => {
    expect(parse(`GET ${uri} HTTP/1.1\r\n\r\n`)[0]?.path).toBe(path);
  });

  it.each([
    ['POST / HTTP/1.1\r\n', 'Invalid HTTP Method: Unsupported HTTP method.'],
    ['GET / HTTP/2\r\n', 'Invalid HTTP Version: Unsupported HTTP version.'],
    ['GET  HTTP/1.1\r\n', 'Invalid URI: Empty URI not allowed.'],
    ['GET /\r\n', 'Invalid request.'],
    [`GET /${'a'.repeat(1100)}`, 'Invalid request.'],
    ['GET / HTTP/1.1\r\nnope\r\n', 'Invalid header. Reason: Header is incorrectly formatted. Key: nope'],
    ['GET / HTTP/1.1\r\nContent-Length: x\r\n', 'Invalid header. Reason: Invalid value. Key:Content-Length; Value: x'],
    [
      'PUT / HTTP/1.1\r\nContent-Length: 51201\r\n\r\n',
      'Request payload with size 51201 is larger than the limit of 51200 allowed by server.',
    ],
    ['PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n', 'Invalid request.'],
  ])('refuses %j', (text, message) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ name: 'HttpError', message }));
  });
});
