/**
 * Reads what the server writes into the page for the widget.
 *
 * @import { Page } from './types.js'
 */

const NONE = '{}';
let text = NONE;
/** @type {Page} */
let config = {};

/** The content of `<meta name="pyramid-progress">`, which Turbo replaces when it visits another page. */
export function pageConfig() {
  const meta = document.querySelector('meta[name=pyramid-progress]');
  const content = meta?.getAttribute('content') ?? NONE;
  if (content !== text) {
    config = JSON.parse(content);
    text = content;
  }
  return config;
}
