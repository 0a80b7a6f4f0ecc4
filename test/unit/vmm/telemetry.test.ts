import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { appendFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { LineSplitter } from '../../../ts/util/line-splitter.js';
import { FifoReader } from '../../../ts/vmm/fifo.js';
import { followFile } from '../../../ts/vmm/follow-file.js';
import { LineLog } from '../../../ts/vmm/line-log.js';
import { parseMetrics } from '../../../ts/vmm/metrics.js';
import { Telemetry } from '../../../ts/vmm/telemetry.js';
import { scratchDirectory } from '../../support/scratch.js';

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) {
    items.push(item);
  }
  return items;
}

async function next<T>(source: AsyncGenerator<T>): Promise<T | undefined> {
  const { value, done } = await source.next();
  return done ? undefined : value;
}

describe('LineSplitter', () => {
  test('puts lines and characters together, wherever they are cut', () => {
    const bytes = Buffer.from('grüß\n\n€uro\nrest');
    const splitter = new LineSplitter();
    const lines = [...bytes].flatMap((byte) => splitter.push(Buffer.of(byte)));
    expect([...lines, ...splitter.end()]).toEqual(['grüß', '', '€uro', 'rest']);
    expect(splitter.end()).toEqual([]);
  });

  test('cuts a line that does not end', () => {
    const splitter = new LineSplitter();
    for (let mib = 0; mib < 4; mib++) {
      splitter.push(Buffer.alloc(1024 * 1024, 'x'));
    }
    expect(splitter.end()[0]).toHaveLength(1024 * 1024);
  });
});

describe('LineLog', () => {
  test('gives each reader what is kept, then what comes', async () => {
    const log = new LineLog();
    log.push(Buffer.from('a\nb\n'));
    const reader = log.read();
    expect([await next(reader), await next(reader)]).toEqual(['a', 'b']);
    const third = next(reader);
    log.push(Buffer.from('c\n'));
    expect(await third).toBe('c');
    log.end();
    expect(await next(reader)).toBeUndefined();
    expect(await all(log.read())).toEqual(['a', 'b', 'c']);
  });

  test('lets a slow reader lose the oldest lines, and nobody wait', async () => {
    const log = new LineLog();
    const slow = log.read();
    log.push(Buffer.from('first\n'));
    expect(await next(slow)).toBe('first');
    for (let index = 0; index < 4096; index++) {
      log.push(Buffer.from(`${index} ${'x'.repeat(1024)}\n`));
    }
    log.end();
    const rest = await all(slow);
    expect(rest.length).toBeGreaterThan(900);
    expect(rest.length).toBeLessThan(1100);
    expect(rest.at(-1)).toMatch(/^4095 /);
  });

  test('a signal ends a reader that waits', async () => {
    const controller = new AbortController();
    const reading = all(new LineLog().read(controller.signal));
    controller.abort();
    expect(await reading).toEqual([]);
  });
});

describe('FifoReader', () => {
  test('reads from before the writer until the writer is gone, and only this user can', async () => {
    await using scratch = await scratchDirectory();
    const fifo = await FifoReader.make(scratch.file('f'));
    expect((await stat(scratch.file('f'))).mode & 0o777).toBe(0o600);
    const reading = all(fifo.lines.read());
    execFileSync('sh', ['-c', 'exec 3<>"$0"; echo one >&3; echo two >&3', scratch.file('f')]);
    expect(await reading).toEqual(['one', 'two']);
  });

  test('takes what is still in the pipe when it is closed', async () => {
    await using scratch = await scratchDirectory();
    const fifo = await FifoReader.make(scratch.file('f'));
    const writer = openSync(scratch.file('f'), constants.O_RDWR | constants.O_NONBLOCK);
    writeSync(writer, 'last words\n');
    fifo.close();
    closeSync(writer);
    expect(await all(fifo.lines.read())).toEqual(['last words']);
  });
});

describe('followFile()', () => {
  test('waits for the file, reads what grows, follows a rotation and ends with its writer', async () => {
    await using scratch = await scratchDirectory();
    let ended = false;
    const lines = followFile(scratch.file('log'), { ended: () => ended });
    const first = next(lines);
    await writeFile(scratch.file('log'), 'a\n');
    expect(await first).toBe('a');
    await appendFile(scratch.file('log'), 'b\n');
    expect(await next(lines)).toBe('b');
    await rename(scratch.file('log'), scratch.file('log.1'));
    await writeFile(scratch.file('log'), 'c\n');
    expect(await next(lines)).toBe('c');
    await appendFile(scratch.file('log'), 'd');
    await rm(scratch.file('log'));
    ended = true;
    expect(await all(lines)).toEqual(['d']);
  });

  test('of a file that never comes ends with its writer', async () => {
    await using scratch = await scratchDirectory();
    expect(await all(followFile(scratch.file('log'), { ended: () => true }))).toEqual([]);
  });
});

describe('parseMetrics()', () => {
  test('keeps the groups that it does not know', () => {
    const line =
      '{"utc_timestamp_ms":5,"id":"a","properties":{"x_y":"z"},"vcpu":{"failures":0},"later":{"new":{"sum_us":1}}}';
    expect(parseMetrics(line)).toEqual({
      timestampMs: 5,
      id: 'a',
      properties: { x_y: 'z' },
      groups: { vcpu: { failures: 0 }, later: { new: { sum_us: 1 } } },
    });
  });

  test.each(['', '{"utc_timestamp_ms":5', '[]', 'null', '{}', '"x"'])('takes %j for none', (line) => {
    expect(parseMetrics(line)).toBeUndefined();
  });
});

describe('Telemetry', () => {
  test('makes a FIFO only for what the configuration asks for and does not name', async () => {
    await using scratch = await scratchDirectory();
    const telemetry = await Telemetry.open(
      { metrics: {}, logger: { logPath: scratch.file('own') } },
      scratch.path,
      scratch.file('vmm.log'),
    );
    expect(telemetry.metricsPath).toBe(scratch.file('metrics.fifo'));
    expect(telemetry.logPath).toBe(scratch.file('own'));
    execFileSync('sh', ['-c', 'echo "{\\"utc_timestamp_ms\\":1}" > "$0"', scratch.file('metrics.fifo')]);
    await writeFile(scratch.file('own'), 'line\n');
    telemetry.close();
    expect(await all(telemetry.metrics())).toEqual([{ timestampMs: 1, groups: {} }]);
    expect(await all(telemetry.logs())).toEqual(['line']);
  });

  test('without metrics says what to do', async () => {
    await using scratch = await scratchDirectory();
    const telemetry = await Telemetry.open({}, scratch.path, scratch.file('vmm.log'));
    await expect(all(telemetry.metrics())).rejects.toMatchObject({ code: 'INVALID_STATE' });
    telemetry.close();
  });
});
