/** How text is to look where it is printed. */
export interface Style {
  /** How wide a line may be; Infinity where it is no terminal. */
  readonly columns: number;
  readonly colors: boolean;
  /** Whether what it is printed on would act on control characters. */
  readonly isTerminal: boolean;
}

/** Codes of colours and the like (ECMA-48's SGR). */
export const SGR = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;

/**
 * Lines as wide as the terminal, in colour; elsewhere plain and whole. NO_COLOR (https://no-color.org) and FORCE_COLOR
 * (https://force-color.org) have the last word on colours, in this order.
 */
export function styleOf({ isTTY, columns }: Pick<NodeJS.WriteStream, 'isTTY' | 'columns'>): Style {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  const forced = FORCE_COLOR !== undefined && FORCE_COLOR !== '' && FORCE_COLOR !== '0';
  const byTerminal = isTTY && TERM !== 'dumb' && FORCE_COLOR !== '0';
  return {
    columns: isTTY ? columns || 80 : Number.POSITIVE_INFINITY,
    colors: !NO_COLOR && (forced || byTerminal),
    isTerminal: isTTY === true,
  };
}

export function paint({ colors }: Pick<Style, 'colors'>, code: number, text: string): string {
  return colors ? `\u001b[${code}m${text}\u001b[0m` : text;
}
