// What the demo adds to its pages. Without this script, a reload of the page shows the same.

// Fetch the page of a finished task again, and put the outcome that it now contains below the bar. It is fetched as a
// document, so that this script creates no markup from text.
const requested = new WeakSet();

function showOutcome(bar) {
  const place = bar.closest('[data-page]');
  if (!place || requested.has(place)) return;
  requested.add(place);
  const request = new XMLHttpRequest();
  request.responseType = 'document';
  request.addEventListener('load', () => {
    const outcome = request.response?.querySelector(`#${place.id} .outcome`);
    if (outcome) place.append(outcome);
  });
  request.open('GET', place.dataset.page);
  request.send();
}

document.addEventListener('progress:finished', ({ target }) => showOutcome(target));

// The status of a task expires, and the outcome may still exist.
document.addEventListener('progress:error', ({ target }) => {
  if (['lost', 'unknown'].includes(target.state)) showOutcome(target);
});

// Tasks that finished while this page was loaded.
document.querySelectorAll('pyramid-progress[state="finished"]').forEach(showOutcome);

// Reject a file that is too large when it is chosen, before its upload.
document.querySelector('input[data-max-bytes]')?.addEventListener('change', ({ target }) => {
  const max = Number(target.dataset.maxBytes);
  const tooLarge = target.files[0]?.size > max;
  target.setCustomValidity(tooLarge ? `This file is larger than ${max / 1e6} MB.` : '');
  target.reportValidity();
});
