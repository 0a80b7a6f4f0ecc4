import { Fault } from '../fault.js';
import * as devices from './device-bodies.js';
import { json, type ParsedRequest, type Route, request } from './parsed-request.js';

const unrecognized = (method: string, path: string) => new Fault(`Unrecognized ${method} request path \`${path}\`.`);

export function getBalloon([part, next]: readonly string[]): ParsedRequest {
  if (part === undefined) {
    return request('GetBalloonConfig', undefined);
  }
  if (part === 'statistics') {
    return request('GetBalloonStats', undefined);
  }
  if (part === 'hinting' && next === 'status') {
    return request('GetFreePageHintingStatus', undefined);
  }
  throw unrecognized('GET', part === 'hinting' ? `/hinting/${next ?? ''}` : part);
}

export const putBalloon: Route = (_rest, body) => request('SetBalloonDevice', json(devices.balloon, body));

/** Anything behind the name but `statistics` and `hinting` is as good as nothing: Firecracker's parser ignores it. */
export function patchBalloon([part, next]: readonly string[], body: Buffer): ParsedRequest {
  if (part === 'hinting') {
    return patchHinting(next, body);
  }
  if (body.length === 0) {
    throw new Fault('Empty PATCH request.');
  }
  return part === 'statistics'
    ? request('UpdateBalloonStatistics', json(devices.balloonStatsUpdate, body))
    : request('UpdateBalloon', json(devices.balloonUpdate, body));
}

function patchHinting(command: string | undefined, body: Buffer): ParsedRequest {
  if (command === 'start') {
    if (body.length > 0) {
      json(devices.startHinting, body);
    }
    return request('StartFreePageHinting', undefined);
  }
  if (command === 'stop') {
    return request('StopFreePageHinting', undefined);
  }
  throw unrecognized('PATCH', `/hinting/${command ?? ''}`);
}
