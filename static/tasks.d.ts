/**
 * Keeps a task list up to date: new tasks are added, and what stands beside the bars follows them. The bars update
 * themselves. In a list of tasks with a certain status, a task that has ended stays, so that its end can be read.
 *
 * @import { Status } from './types.js'
 * @typedef {Status & { removable?: boolean }} ListedStatus
 */
import type { Status } from './types.js';
export type ListedStatus = Status & {
  removable?: boolean;
};
