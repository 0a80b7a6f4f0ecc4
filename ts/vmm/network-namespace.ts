/** The command that runs a program in a network namespace, given by its path, as the process that it starts as. */
export function inNamespace(
  path: string | undefined,
  executable: string,
  args: readonly string[],
): [string, ...string[]] {
  return path === undefined ? [executable, ...args] : ['nsenter', `--net=${path}`, '--', executable, ...args];
}
