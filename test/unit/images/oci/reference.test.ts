import { describe, expect, it } from 'vitest';
import { formatOciReference, parseOciReference } from '../../../../ts/images/oci/reference.js';

const HEX = 'a'.repeat(64);
const written = (text: string) => formatOciReference(parseOciReference(text, '/work'));

describe('an OCI reference', () => {
  it.each([
    ['python', 'docker.io/library/python:latest'],
    ['python:3.12', 'docker.io/library/python:3.12'],
    ['docker.io/python', 'docker.io/library/python:latest'],
    ['index.docker.io/library/python', 'docker.io/library/python:latest'],
    ['bitnami/redis', 'docker.io/bitnami/redis:latest'],
    ['ghcr.io/owner/a/b:v1', 'ghcr.io/owner/a/b:v1'],
    ['localhost/a', 'localhost/a:latest'],
    ['localhost:5000/a', 'localhost:5000/a:latest'],
    ['127.0.0.1:5000/a/b:x', '127.0.0.1:5000/a/b:x'],
    ['[::1]:5000/a', '[::1]:5000/a:latest'],
    ['registry:5000/a:1', 'registry:5000/a:1'],
    ['a__b/c-d.e_f', 'docker.io/a__b/c-d.e_f:latest'],
    [`python@sha256:${HEX}`, `docker.io/library/python@sha256:${HEX}`],
    [`ghcr.io/a/b:v1@sha256:${HEX}`, `ghcr.io/a/b@sha256:${HEX}`],
    ['./image.tar', '/work/image.tar'],
    ['../layout#v1', '/layout#v1'],
    ['.', '/work'],
    ['/a:b/c d.tar#repo/name:tag', '/a:b/c d.tar#repo/name:tag'],
  ])('%s is %s', (text, whole) => {
    expect(written(text)).toBe(whole);
  });

  it.each([
    '',
    'UPPER',
    'a:',
    'a:b:c',
    'a@sha256:abc',
    `a@sha512:${HEX}`,
    `a@sha256:${HEX}@sha256:${HEX}`,
    'a//b',
    'a/../b',
    '-rf',
    'a b',
    'a\nb',
    'http://host/a',
    'user:secret@host/a',
    'host:port/a',
    'a'.repeat(300),
    './x#',
    './x#a b',
    './x#--flag\n',
  ])('%j is none', (text) => {
    expect(() => parseOciReference(text)).toThrow(expect.objectContaining({ code: 'IMAGE_UNKNOWN' }));
  });
});
