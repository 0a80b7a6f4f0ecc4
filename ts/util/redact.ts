/** A URL without user, password, query and fragment, which may be secret. */
export function printableUrl(url: string | URL): string {
  if (!URL.canParse(url as string)) {
    return 'what is no URL';
  }
  const { protocol, host, pathname } = new URL(url);
  // Of `user:password@host`, which lacks its scheme, the first word is a scheme and the rest a path.
  return host === '' ? `${protocol}…` : `${protocol}//${host}${pathname}`;
}

/**
 * Text, such as a tool's words, without the users and passwords of the URLs in it. It begins where a scheme ends: to look for where one
 * begins would take the square of the length of what a registry, say, may have written.
 */
export function withoutCredentials(text: string): string {
  return text.replace(/:\/\/[^\s/"'<>]*@/g, '://***@');
}
