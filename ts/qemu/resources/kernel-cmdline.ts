import { Fault } from '../fault.js';

/** The kernel's own limit on both architectures, with the NUL at its end. */
const CAPACITY = 2048;
const PCI_OFF = 'pci=off';
const INIT_SEPARATOR = ' -- ';
const DEFAULT_ARGS = 'reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.dumbkbd swiotlb=noforce';

/** A kernel command line in its two parts: what is for the kernel, and what stands behind `--` for init. */
export class KernelCmdline {
  readonly #initArgs: string;
  #bootArgs: string;

  private constructor(bootArgs: string, initArgs: string) {
    this.#bootArgs = bootArgs;
    this.#initArgs = initArgs;
  }

  /** @throws Fault with the reason alone; the caller says what it was for */
  static parse(args: string | null): KernelCmdline {
    const text = args ?? DEFAULT_ARGS;
    const separator = separatorIndex(text);
    const bootArgs = (separator < 0 ? text : text.slice(0, separator)).trim();
    const initArgs = separator < 0 ? '' : text.slice(separator + INIT_SEPARATOR.length).trim();
    const cmdline = new KernelCmdline(bootArgs, initArgs);
    if (Buffer.byteLength(cmdline.toString()) + 1 > CAPACITY) {
      throw new Fault('Invalid cmdline capacity provided.');
    }
    return cmdline;
  }

  /**
   * A copy with further arguments for the kernel, and without `pci=off`: Firecracker, whose devices are on MMIO, adds it,
   * and here they are on PCI. It counts for the limit all the same: what is too long there is too long here.
   * @throws Fault
   */
  with(...args: readonly string[]): KernelCmdline {
    const onFirecracker = new KernelCmdline([this.#bootArgs, PCI_OFF, ...args].join(' '), this.#initArgs);
    if (Buffer.byteLength(onFirecracker.toString()) + 1 > CAPACITY) {
      throw new Fault(
        'Start microvm error: Invalid kernel command line: Inserting string would make command line too long.',
      );
    }
    if (onFirecracker.toString().includes('\0')) {
      throw new Fault(
        'Start microvm error: Invalid kernel command line: Null terminator detected in the command line structure.',
      );
    }
    const kept = this.#bootArgs.split(' ').filter((arg) => arg !== PCI_OFF);
    return new KernelCmdline([...kept, ...args].join(' ').trim(), this.#initArgs);
  }

  toString(): string {
    return this.#initArgs === '' ? this.#bootArgs : `${this.#bootArgs}${INIT_SEPARATOR}${this.#initArgs}`;
  }
}

/** The first separator that does not stand inside double quotes. */
function separatorIndex(text: string): number {
  for (let index = text.indexOf(INIT_SEPARATOR); index >= 0; index = text.indexOf(INIT_SEPARATOR, index + 1)) {
    const quotes = text.slice(0, index).split('"').length - 1;
    if (quotes % 2 === 0) {
      return index;
    }
  }
  return -1;
}
