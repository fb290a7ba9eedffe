import type { Status } from 'pyramid-progress/types.js';

/** What /api/configuration returns. */
interface Configuration {
  assets: string;
  poller: string;
  status: string;
  cancel: string;
  csrfToken: string;
}

const configuration: Configuration = await (await fetch('/api/configuration')).json();

// The style sheet, the script that defines the element, and the words in the visitor's language.
document.head.append(document.createRange().createContextualFragment(configuration.assets));

async function post(url: string, body: object): Promise<Response> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      Accept: 'application/json',
      'Content-Type': 'application/json',
      'X-CSRF-Token': configuration.csrfToken,
    },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error((await response.json()).message);
  return response;
}

async function startExport(): Promise<void> {
  const { progressId } = await (await post('/api/exports', {})).json();
  show(progressId);
  follow(progressId);
}

/** Shows the bar of a task, with a button that cancels it. */
function show(progressId: string): void {
  const bar = document.createElement('pyramid-progress');
  bar.setAttribute('progress-id', progressId);
  const cancel = document.createElement('button');
  cancel.textContent = 'Cancel';
  cancel.hidden = true;
  cancel.addEventListener('click', () => post(configuration.cancel, { progress_id: progressId }));
  bar.addEventListener('progress:update', ({ detail }) => {
    cancel.hidden = !detail.cancellable;
  });
  document.querySelector('#exports')!.append(bar, cancel);
}

/** Shows the percentage in the title of the page: a page can draw the progress itself. */
async function follow(progressId: string): Promise<void> {
  const { poll, percentage } = (await import(configuration.poller)) as typeof import('pyramid-progress/poller.js');
  poll(configuration.status, progressId, (status: Status, state) => {
    document.title = state === 'running' ? `${percentage(status)}% of ${status.label}` : 'Sales';
  });
}

const button = document.querySelector<HTMLButtonElement>('#export')!;
button.addEventListener('click', startExport);
button.disabled = false;
