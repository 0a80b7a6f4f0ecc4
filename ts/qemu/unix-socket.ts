import { access } from 'node:fs/promises';
import type { Server } from 'node:net';
import { dirname } from 'node:path';
import { MAX_SOCKET_PATH_BYTES } from '../util/socket-path.js';
import { osErrorText } from './fault.js';

/** A socket could not be bound; `message` is the reason in the words of Rust's standard library. */
export class BindError extends Error {
  override readonly name = 'BindError';

  constructor(
    message: string,
    readonly inUse = false,
  ) {
    super(message);
  }
}

/** Binds a Unix socket, which must not exist, and listens on it. @throws BindError */
export async function listenUnix(server: Server, path: string): Promise<void> {
  if (path === '') {
    return; // for Rust's standard library that is a socket that nobody can name
  }
  if (path.includes('\0')) {
    throw new BindError('paths must not contain interior null bytes');
  }
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
    throw new BindError('path must be shorter than SUN_LEN');
  }
  const failure = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    server.once('error', resolve);
    server.listen(path, () => {
      server.off('error', resolve);
      resolve(undefined);
    });
  });
  if (failure) {
    throw new BindError(osErrorText(await realCause(failure, path)), failure.code === 'EADDRINUSE');
  }
}

/** libuv gives EACCES for a directory that does not exist. */
async function realCause(failure: NodeJS.ErrnoException, path: string): Promise<NodeJS.ErrnoException> {
  return failure.code === 'EACCES'
    ? await access(dirname(path)).then(
        () => failure,
        (cause) => cause,
      )
    : failure;
}
