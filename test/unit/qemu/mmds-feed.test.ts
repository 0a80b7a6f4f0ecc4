import { Duplex } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { decode } from '../../../ts/qemu/api/decoder.js';
import { jsonValue } from '../../../ts/qemu/api/json-value.js';
import { feedMmds } from '../../../ts/qemu/mmds/feed.js';
import { MmdsStore } from '../../../ts/qemu/mmds/store.js';

const ADDRESS = '169.254.169.254';
const value = (text: string) => decode(jsonValue, Buffer.from(text));

/** A stream whose far end takes a line when it is told to. */
class SlowStream extends Duplex {
  readonly lines: string[] = [];
  #taken: (() => void) | undefined;

  constructor() {
    super({ highWaterMark: 1 });
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.lines.push(chunk.toString());
    this.#taken = done;
  }

  async accept(): Promise<void> {
    this.#taken?.();
    await setImmediate();
  }
}

describe('feedMmds', () => {
  let store: MmdsStore;
  let stream: SlowStream;

  beforeEach(async () => {
    store = new MmdsStore(51_200);
    store.version = 'V2';
    stream = new SlowStream();
    await feedMmds(store, ADDRESS, async () => stream);
  });

  it('tells of an MMDS without content, and of its content when it comes', async () => {
    await stream.accept();
    store.put(value('{"b":1.50,"a":"é\\n"}'));
    await stream.accept();
    store.patch(value('{"b":null}'));
    expect(stream.lines).toEqual([
      '{"version":"V2","address":"169.254.169.254","imdsCompat":false,"data":null}\n',
      '{"version":"V2","address":"169.254.169.254","imdsCompat":false,"data":{"a":"é\\n","b":1.5}}\n',
      '{"version":"V2","address":"169.254.169.254","imdsCompat":false,"data":{"a":"é\\n"}}\n',
    ]);
  });

  it('keeps no changes for an agent that does not read, and then tells it the last', async () => {
    for (let n = 0; n < 100; n++) {
      store.put(value(`{"n":${n}}`));
    }
    expect(stream.lines).toHaveLength(1);
    await stream.accept();
    expect(stream.lines.slice(1).map((line) => JSON.parse(line).data)).toEqual([{ n: 99 }]);
    await stream.accept();
    await stream.accept();
    expect(stream.lines).toHaveLength(2);
  });

  it('is over with its stream', async () => {
    const closed = new Promise((resolve) => stream.once('close', resolve));
    stream.destroy(new Error('the session has ended'));
    await closed;
    expect(store.changes.listenerCount('change')).toBe(0);
    store.put(value('{"a":1}'));
    expect(stream.lines).toHaveLength(1);
  });

  it('does without an agent that refuses', async () => {
    await feedMmds(store, ADDRESS, async () => undefined);
    expect(store.changes.listenerCount('change')).toBe(1);
  });
});
