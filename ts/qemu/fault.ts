/** A refusal that the API answers with: 400 (or `status`) and `{ "fault_message": message }`. */
export class Fault extends Error {
  override readonly name = 'Fault';

  constructor(
    message: string,
    readonly status: 400 | 413 = 400,
  ) {
    super(message);
  }
}

/** strerror(3) for what opening files, sockets and TAPs can meet: [number, text]. libuv has its own, different, texts. */
const ERRNO: Readonly<Record<string, readonly [number, string]>> = {
  EPERM: [1, 'Operation not permitted'],
  ENOENT: [2, 'No such file or directory'],
  EIO: [5, 'Input/output error'],
  ENXIO: [6, 'No such device or address'],
  EBADF: [9, 'Bad file descriptor'],
  ENOMEM: [12, 'Cannot allocate memory'],
  EACCES: [13, 'Permission denied'],
  EBUSY: [16, 'Device or resource busy'],
  EEXIST: [17, 'File exists'],
  ENODEV: [19, 'No such device'],
  ENOTDIR: [20, 'Not a directory'],
  EISDIR: [21, 'Is a directory'],
  EINVAL: [22, 'Invalid argument'],
  ENFILE: [23, 'Too many open files in system'],
  EMFILE: [24, 'Too many open files'],
  ETXTBSY: [26, 'Text file busy'],
  ENOSPC: [28, 'No space left on device'],
  EROFS: [30, 'Read-only file system'],
  ENAMETOOLONG: [36, 'File name too long'],
  ELOOP: [40, 'Too many levels of symbolic links'],
  EOVERFLOW: [75, 'Value too large for defined data type'],
  EADDRINUSE: [98, 'Address already in use'],
};

/** A system error as Rust's standard library prints it: `No such file or directory (os error 2)`. */
export function osErrorText(cause: unknown): string {
  const { code, errno, message } = cause as NodeJS.ErrnoException;
  if (code === 'ERR_INVALID_ARG_VALUE') {
    return 'file name contained an unexpected NUL byte';
  }
  const known = code === undefined ? undefined : ERRNO[code];
  return known ? `${known[1]} (os error ${known[0]})` : `${message} (os error ${-(errno ?? 0)})`;
}

/** The same for an error number that another program met. */
export function errnoText(errno: number): string {
  const known = Object.values(ERRNO).find(([number]) => number === errno);
  return `${known?.[1] ?? 'Unknown error'} (os error ${errno})`;
}
