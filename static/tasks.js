/**
 * Keeps a list of tasks live: what was started since comes in on top. The bars move by themselves, and one that has
 * ended stays, so that it can be read.
 */

/** Ms between two looks. */
const INTERVAL = 5000;

/** @param {ParentNode} node @returns {Map<string, Element>} the list's items by progress id */
function items(node) {
  return new Map(
    [...node.querySelectorAll('li:has(> pyramid-progress)')].map((item) => [
      item.querySelector('pyramid-progress')?.getAttribute('progress-id') ?? '',
      item,
    ]),
  );
}

/** @param {string} url @returns {Promise<Document | null>} the page, parsed without a sink for markup */
function load(url) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open('GET', url);
    request.setRequestHeader('Accept', 'text/html');
    request.responseType = 'document';
    request.onloadend = () => resolve(request.status === 200 ? request.responseXML : null);
    request.send();
  });
}

/** @param {Element} list @param {string} src where the list is, as JSON */
async function look(list, src) {
  const response = await fetch(src, { headers: { Accept: 'application/json' }, redirect: 'manual' }).catch(() => null);
  if (!response?.ok) return;
  const { tasks } = await response.json();
  const known = items(list);
  if (Object.keys(tasks).every((id) => known.has(id))) return;
  const page = await load(location.href);
  const fresh = page?.querySelector('.pp-tasks ol');
  if (!fresh) return;
  const shown = list.querySelector('ol');
  if (!shown) {
    list.querySelector('p')?.replaceWith(document.importNode(fresh, true));
    return;
  }
  const added = [...items(fresh)].filter(([id]) => !known.has(id)).map(([, item]) => document.importNode(item, true));
  shown.prepend(...added);
}

for (const list of document.querySelectorAll('.pp-tasks[data-src]')) {
  const src = list.getAttribute('data-src') ?? '';
  setInterval(() => document.hidden || look(list, src), INTERVAL);
}
