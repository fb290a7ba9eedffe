/**
 * Shows a bar in a form whose POST is the slow work, while the browser waits for the response. The page also loads
 * `progress.js`, which defines the element.
 */
import './pace.js';
