"""What a page shows of tasks: the element ``<pyramid-progress>``, and the script and style sheet that it needs."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from pyramid.renderers import get_renderer

from .access import look
from .progress import UNKNOWN
from .storage import StorageError
from .values import check_id
from .words import CANCEL, PAGE, PERCENT, REFRESH, localizer_of

#: Status words that are states as well; a task that is 'pending' or 'unknown' waits, any other word runs.
_OVER = {'finished', 'failed', 'cancelled'}
_STATES = {*_OVER, 'stalled', 'cancelling'}

#: A URL of the web: with its scheme, or with none, which is where a path, query or fragment comes before any colon.
_WEB_URL = re.compile(r'https?:|[^:/?#]*([/?#]|\Z)', re.IGNORECASE)

Translate = Callable[[Any], str]


class Markup(str):
    """Text that is markup already: no template language escapes it, for it has ``__html__``."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


class Progress:
    """The part of ``request.progress`` that draws.

    :param request: the current request
    """

    def __init__(self, request: Any) -> None:
        self.request = request

    @property
    def macros(self) -> Mapping[str, Any]:
        """The Chameleon macros ``assets``, ``bar``, ``form`` and ``tasks``, for ``metal:use-macro``.

        ``bar`` needs a variable ``progress_id`` where it is used.
        """
        return {name: self._template(name).macros[name] for name in ('assets', 'bar', 'form', 'tasks')}

    def assets(self) -> Markup:
        """Return the elements that a page with bars needs in its head."""
        return Markup(self._template('assets')(request=self.request))

    def bar(self, progress_id: str) -> Markup:
        """Return the element that shows a task, with its state of this moment.

        A store that does not answer is no error: the bar shows it, and goes on when the store does.

        :param progress_id: the task's id
        :raises TypeError: where that is not a string
        :raises ValueError: where it is a string that cannot be an id
        """
        return Markup(self._template('bar')(request=self.request, progress_id=progress_id))

    def form(self) -> Markup:
        """Return what stands in a form whose POST is the slow work: the place of the bar that shows while the browser
        waits for the answer.

        The form sends the bar's ``progress_id``, which :meth:`.request.Progress.start` takes. A form with the attribute
        ``data-progress`` has the bar at its end, without this.
        """
        return Markup(self._template('form')())

    def tasks(self) -> Markup:
        """Return the tasks that the request may list, by the ``tag``, ``status`` and ``page`` of its query."""
        return Markup(self._template('tasks')(request=self.request))

    def _template(self, name: str) -> Any:
        spec = f'pyramid_progress:templates/{name}.pt'
        return get_renderer(spec, registry=self.request.registry).implementation()


def page(request: Any) -> str:
    """Return what a page says to its bars, as JSON text: the status URL, the pace, the language, the words."""
    localizer = localizer_of(request)
    settings = request.registry['pyramid_progress']
    return json.dumps(
        {
            'src': request.route_path('progress_status'),
            'min': settings.poll_min,
            'max': settings.poll_max,
            'lang': localizer.locale_name.replace('_', '-'),
            'words': {name: localizer.translate(word) for name, word in PAGE.items()},
        }
    )


@dataclass(frozen=True)
class Bar:
    """What a bar shows, as text: the script draws the same from the same status."""

    #: the status as JSON text, for the script; None where it could not be read
    status: str | None
    #: a key of :data:`.words.PAGE`, and that in words
    state: str
    word: str
    #: what the task is called and what it says, or ''
    label: str
    message: str
    #: '42%', or what is done where the length is not known, or ''
    amount: str
    #: how full the native bar is, from 0 to 100; None for one that moves without telling
    value: str | None
    #: the accessible name of the native bar
    name: str
    #: where the result is, or None, and what is said of it, or ''
    result_url: str | None
    result_text: str
    #: whether the task has ended, and whether this request may ask it to stop
    is_over: bool
    is_cancellable: bool
    #: what the button says that does so, and the link that reloads a page without script
    cancel: str
    refresh: str


def bar(request: Any, progress_id: str, status: Mapping[str, Any] | None = None) -> Bar:
    """Return what a bar shows of a task at this moment. The task stays on the list.

    :param request: the current request
    :param progress_id: the task's id
    :param status: what :func:`.access.look` gave for it, if somebody has looked already
    :raises TypeError: where that is not a string
    :raises ValueError: where it is a string that cannot be an id
    """
    check_id(progress_id)
    translate = localizer_of(request).translate
    try:
        return _bar(status or look(request, [progress_id])[progress_id], translate)
    except StorageError:
        return _bar(UNKNOWN, translate, trouble=True)


def _bar(status: Mapping[str, Any], translate: Translate, *, trouble: bool = False) -> Bar:
    percentage = _percentage(status)
    state = 'trouble' if trouble else _state(status, percentage)
    current = _number(status.get('current'))
    if percentage is not None:
        amount = translate(PERCENT % {'percent': math.floor(percentage)})
    else:
        amount = f'{current:.15g}' if current else ''
    # A status word of the application's own is shown as it is.
    own = state in ('running', 'indeterminate') and status['status'] != 'running'
    label = _text(status.get('label'))
    result = status.get('result')
    result = result if isinstance(result, dict) else {}
    result_url = _text(result.get('url'))
    if not _WEB_URL.match(result_url):
        result_url = ''
    return Bar(
        status=None if trouble else json.dumps(status),
        state=state,
        word=status['status'] if own else translate(PAGE[state]),
        label=label,
        message=_text(status.get('message')),
        amount=amount,
        value=None if state == 'indeterminate' else f'{percentage or 0:g}',
        name=label or translate(PAGE['progress']),
        result_url=result_url or None,
        result_text=_text(result.get('text')) or (translate(PAGE['result']) if result_url else ''),
        is_over=state in _OVER,
        is_cancellable='cancellable' in status,
        cancel=translate(CANCEL),
        refresh=translate(REFRESH),
    )


def _state(status: Mapping[str, Any], percentage: float | None) -> str:
    word: str = status['status']
    if word in ('pending', 'unknown'):
        return 'waiting'
    if word in _STATES:
        return word
    return 'indeterminate' if percentage is None else 'running'


def _percentage(status: Mapping[str, Any]) -> float | None:
    """Return how much is done, rounded down to a tenth of a percent: 100 only if all is; None if nobody can tell."""
    if status['status'] == 'finished':
        return 100
    current = status.get('current')
    done = 0 if current is None else _number(current)
    length = _number(status.get('length'))
    if done is None or length is None or length < 0:
        return None
    return math.floor(max(done, 0) / length * 1000) / 10 if done < length else 100


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _text(value: Any) -> str:
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ''


def missing(macro: str, variable: str) -> NoReturn:
    """Tell the author of a page what a macro needs.

    :raises NameError: always
    """
    raise NameError(f'The macro {macro!r} of pyramid_progress needs a variable {variable!r} where it is used')
