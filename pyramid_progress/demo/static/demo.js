// What the demo adds to its pages; everything works without it, with a reload.

// Fetch the page of a task that ended under our eyes once more, and put the outcome that it now has
// below the bar. It is fetched as a document, so that no text is ever made into markup here.
const asked = new WeakSet();

function showOutcome(bar) {
  const place = bar.closest('[data-page]');
  if (!place || asked.has(place)) return;
  asked.add(place);
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

// A status is not kept for ever, its outcome is: a tab that slept too long finds it all the same.
document.addEventListener('progress:error', ({ target }) => {
  if (['lost', 'unknown'].includes(target.state)) showOutcome(target);
});

// And one that ended while this page was on its way.
document.querySelectorAll('pyramid-progress[state="finished"]').forEach(showOutcome);

// A file that is too large is not worth the upload: say so when it is chosen.
document.querySelector('input[data-max-bytes]')?.addEventListener('change', ({ target }) => {
  const max = Number(target.dataset.maxBytes);
  const tooLarge = target.files[0]?.size > max;
  target.setCustomValidity(tooLarge ? `This file is larger than ${max / 1e6} MB.` : '');
  target.reportValidity();
});
