/**
 * The element `<pyramid-progress>`.
 *
 * @import { Shown, State, Status, WatchOptions } from './types.js'
 */
import type { State, Status } from './types.js';
export declare class PyramidProgressElement extends HTMLElement {
  #private;
  static observedAttributes: string[];
  get progressId(): string;
  set progressId(value: string);
  get src(): string;
  set src(value: string);
  get pollMin(): number;
  set pollMin(value: number);
  get pollMax(): number;
  set pollMax(value: number);
  get patience(): number;
  set patience(value: number);
  get whenFinished(): string;
  set whenFinished(value: string);
  get noCount(): boolean;
  set noCount(value: boolean);
  get noElapsed(): boolean;
  set noElapsed(value: boolean);
  /** @returns {State} */
  get state(): State;
  /** @returns {Status} */
  get status(): Status;
  /** Follows a new run of the task. */
  restart(): void;
  connectedCallback(): void;
  disconnectedCallback(): void;
  /** @param {string} name @param {string | null} old @param {string | null} value */
  attributeChangedCallback(name: string, old: string | null, value: string | null): void;
}
