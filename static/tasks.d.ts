/**
 * Keeps a task list up to date: adds new tasks, and updates the details below each bar. The bars update themselves. A
 * list that is filtered by status keeps a task whose status changes, so that its end can be read.
 *
 * @import { Status } from './types.js'
 * @typedef {Status & { removable?: boolean }} ListedStatus
 */
import type { Status } from './types.js';
export type ListedStatus = Status & {
  removable?: boolean;
};
