import { readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { Logger, VMM_SOURCE } from '../../../ts/qemu/telemetry/logger.js';
import { Metrics } from '../../../ts/qemu/telemetry/metrics.js';
import { countFailure, countRequest } from '../../../ts/qemu/telemetry/request-counters.js';
import { scratchDirectory } from '../../support/scratch.js';

const config = { log_path: null, level: null, show_level: null, show_log_origin: null, module: null };

describe('Logger', () => {
  it("writes Firecracker's format, at its level, with what is to be shown", async () => {
    await using scratch = await scratchDirectory();
    const logger = new Logger('vm-1', () => expect.fail('a line was lost'));
    logger.write('INFO', VMM_SOURCE, 'nowhere to go');
    await logger.configure({ ...config, log_path: scratch.file('log') });
    logger.write('DEBUG', VMM_SOURCE, 'too much');
    logger.write('INFO', VMM_SOURCE, 'plain');
    await logger.configure({ ...config, level: 'DEBUG', show_level: true, show_log_origin: true });
    logger.write('DEBUG', VMM_SOURCE, 'more');
    await logger.configure({ ...config, module: 'another' });
    logger.write('ERROR', VMM_SOURCE, 'of a module that is not asked for');
    const time = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}`;
    expect(await readFile(scratch.file('log'), 'utf8')).toMatch(
      new RegExp(`^${time} \\[vm-1:main\\] plain\\n${time} \\[vm-1:main:DEBUG:ts/qemu/[^ ]+:\\d+\\] more\\n$`),
    );
  });
});

describe('Metrics', () => {
  it('counts from one line to the next, knows every group, and can be set up once', async () => {
    await using scratch = await scratchDirectory();
    await writeFile(scratch.file('metrics'), '');
    const metrics = new Metrics('vm-1');
    const setUp = {
      metrics_path: scratch.file('metrics'),
      emit_id: true,
      properties: new Map([
        ['b', '2'],
        ['a', '1'],
      ]),
    };
    await metrics.configure(setUp);
    await expect(metrics.configure(setUp)).rejects.toThrow('Reinitialization of metrics not allowed.');
    countRequest(metrics, 'PUT', '/drives/a');
    countFailure(metrics, 'PUT', '/drives/a');
    metrics.count('block_a' as 'block', 'read_count', 3);
    await metrics.flush();
    await metrics.flush();
    const [first, second] = (await readFile(scratch.file('metrics'), 'utf8')).trimEnd().split('\n').map(parse);
    expect(first).toMatchObject({
      id: 'vm-1',
      properties: { a: '1', b: '2' },
      put_api_requests: { drive_count: 1, drive_fails: 1, actions_count: 0 },
      block_a: { read_count: 3, write_count: 0 },
    });
    expect(second).toMatchObject({ put_api_requests: { drive_count: 0 }, vcpu: { exit_io_in_agg: { max_us: 0 } } });
  });
});

const parse = (line: string) => JSON.parse(line) as Record<string, unknown>;
