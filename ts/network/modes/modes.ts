import type { NetworkMode } from '../../config/network.js';
import { bridgeMode, natMode } from './bridged.js';
import { netnsMode } from './netns.js';
import type { Strategy } from './strategy.js';
import { noneMode, userMode } from './user.js';

export const MODES: Readonly<Record<NetworkMode, Strategy>> = {
  nat: natMode,
  bridge: bridgeMode,
  netns: netnsMode,
  none: noneMode,
  user: userMode,
};
