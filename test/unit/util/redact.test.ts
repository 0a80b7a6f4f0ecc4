import { expect, test } from 'vitest';
import { printableUrl, withoutCredentials } from '../../../ts/util/redact.js';

test.each([
  ['https://example.test/a/b', 'https://example.test/a/b'],
  ['https://me:secret@example.test:8443/a?token=secret#secret', 'https://example.test:8443/a'],
  ['https://secret@[::1]/', 'https://[::1]/'],
  ['me:secret@example.test', 'me:…'],
  ['//me:secret@example.test', 'what is no URL'],
  ['http://me:secret@', 'what is no URL'],
])('%s is shown as %s', (url, shown) => {
  expect(printableUrl(url)).toBe(shown);
});

test.each([
  ['E: cannot fetch http://me:secret@mirror.test/debian', 'E: cannot fetch http://***@mirror.test/debian'],
  ['"https://secret@a.test" and https://b:secret@c.test:1/', '"https://***@a.test" and https://***@c.test:1/'],
  ['http://me:sec:ret@secret@a.test/x@y', 'http://***@a.test/x@y'],
  ['Acquire::http::Proxy "http://me:secret@proxy.test:3128";', 'Acquire::http::Proxy "http://***@proxy.test:3128";'],
  ['nothing of that kind: a@b, http://a.test/@scope/b', 'nothing of that kind: a@b, http://a.test/@scope/b'],
])('%s becomes %s', (text, expected) => {
  expect(withoutCredentials(text)).toBe(expected);
});

test.each(['a.', 'a://', 'http://a', '@'])('is through with a tool that says nothing but %s', (part) => {
  const text = part.repeat(2 ** 18);
  const begin = performance.now();
  expect(withoutCredentials(text)).toBe(text);
  expect(performance.now() - begin).toBeLessThan(5000);
});
