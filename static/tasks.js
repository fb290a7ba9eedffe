/**
 * Adds new tasks to the top of a task list. The bars update themselves, and a task that has ended stays in the list, so
 * that its end can be read.
 */

/** The time in ms between two requests for the list. */
const INTERVAL = 5000;

/** Returns the items of a list by progress id. @param {ParentNode} node @returns {Map<string, Element>} */
function itemsById(node) {
  return new Map(
    [...node.querySelectorAll('li:has(> pyramid-progress)')].map((item) => [
      item.querySelector('pyramid-progress')?.getAttribute('progress-id') ?? '',
      item,
    ]),
  );
}

/**
 * Loads a page. XMLHttpRequest parses it without a function that makes markup of text, which a content security policy
 * may forbid (trusted types).
 *
 * @param {string} url @returns {Promise<Document | null>}
 */
function loadPage(url) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open('GET', url);
    request.setRequestHeader('Accept', 'text/html');
    request.responseType = 'document';
    request.onloadend = () => resolve(request.status === 200 ? request.responseXML : null);
    request.send();
  });
}

/** Loads the page again if there are new tasks. @param {Element} list @param {string} src the list's JSON */
async function refresh(list, src) {
  const response = await fetch(src, { headers: { Accept: 'application/json' }, redirect: 'manual' }).catch(() => null);
  if (!response?.ok) return;
  const { tasks } = await response.json();
  const known = itemsById(list);
  if (Object.keys(tasks).every((id) => known.has(id))) return;
  const page = await loadPage(location.href);
  const loaded = page?.querySelector('.pp-tasks ol');
  if (!loaded) return;
  const shown = list.querySelector('ol');
  if (!shown) {
    list.querySelector('p')?.replaceWith(document.importNode(loaded, true));
    return;
  }
  const added = [...itemsById(loaded)].filter(([id]) => !known.has(id));
  shown.prepend(...added.map(([, item]) => document.importNode(item, true)));
}

for (const list of document.querySelectorAll('.pp-tasks[data-src]')) {
  const src = list.getAttribute('data-src') ?? '';
  setInterval(() => document.hidden || refresh(list, src), INTERVAL);
}
