"""What a page shows of tasks: the element ``<pyramid-progress>``, and the script and style sheet that it needs."""

import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NoReturn

from pyramid.renderers import get_renderer

from ..model.messages import BAR, CANCEL, REFRESH
from ..model.record import TERMINAL_STATUSES
from ..model.status import UNKNOWN, Status, bar_state, percentage, to_float
from ..model.values import check_id
from ..runtime import get_runtime
from ..storage import StorageError
from . import csrf
from .access import Visitor
from .format import Translate, format_count, format_elapsed, format_number, format_percent
from .i18n import language_of, localizer_of
from .streams.wsgi import offers_streams
from .task_list import TaskList, task_list

#: The package's name, which is another one if it is part of an application's package.
PACKAGE = __name__.rsplit('.', 2)[0]

_MACROS = ('assets', 'bar', 'form', 'tasks')

#: The values of the attribute ``when-finished``; None leaves it out.
_WHEN_FINISHED = ('reload', 'result', None)

#: The states in which a bar shows no amount beside its percentage.
_UNCOUNTED_STATES = ('waiting', 'finished', 'cancelled')

#: The states in which a bar shows the time since the start.
_TIMED_STATES = ('running', 'indeterminate', 'cancelling')

#: A URL of the web: with its scheme, or without one, if a path, query or fragment comes before any colon.
_WEB_URL = re.compile(r'https?:|[^:/?#]*([/?#]|\Z)', re.IGNORECASE)


class Markup(str):
    """Text that is markup already: it has ``__html__``, so that no template language escapes it."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Bar:
    """What a bar shows, as text: the script draws the same from the same status."""

    #: the status as JSON text, for the script; None if it could not be read
    status: str | None
    #: a key of :data:`.messages.BAR`, and its word
    state: str
    word: str
    #: the task's label and message, or ''
    label: str
    message: str
    #: '42%', or the completed amount if the length is not known, or ''; '' for a cancelled task
    amount: str
    #: '420 of 1,000' and '1 min 12 s', while they help, or ''
    count: str
    elapsed: str
    #: the value of the native ``<progress>``, from 0 to 100; None if it is indeterminate
    value: str | None
    #: the accessible name of the native ``<progress>``, and its value in words
    name: str
    value_text: str
    #: the URL of the result, or None, and its text, or ''
    result_url: str | None
    result_text: str
    #: whether the task has ended, and whether this request may ask it to stop
    is_over: bool
    is_cancellable: bool
    #: the word of the button that asks the task to stop, and of the link that reloads a page without script
    cancel: str
    refresh: str


class Rendering:
    """The part of ``request.progress`` that draws.

    :param request: the current request
    """

    def __init__(self, request: Any) -> None:
        self.request = request
        self._statuses: dict[str, Status] = {}

    @property
    def macros(self) -> Mapping[str, Any]:
        """The Chameleon macros ``assets``, ``bar``, ``form`` and ``tasks``, for ``metal:use-macro``.

        ``bar`` needs a variable ``progress_id`` where it is used, and takes others, ``when_finished``, ``no_count`` and
        ``no_elapsed``, as :meth:`bar` does.
        """
        return {name: self._template(name).macros[name] for name in _MACROS}

    def assets(self) -> Markup:
        """Return the elements that a page with bars needs in its head."""
        return Markup(self._template('assets')(request=self.request))

    def bar(
        self, progress_id: str, when_finished: str | None = None, *, no_count: bool = False, no_elapsed: bool = False
    ) -> Markup:
        """Return the element that shows a task, with its current state.

        It is valid wherever phrasing content is, in a form as well. If the store does not answer, the bar shows
        connection trouble, and recovers with the store.

        :param progress_id: the task's id
        :param when_finished: what the page does when the task finishes while the page shows it: ``'reload'`` loads the
            page again, ``'result'`` follows the link of the result, None does nothing
        :param no_count: whether the bar is without the amount, such as '420 of 1,000'
        :param no_elapsed: whether the bar is without the time since the start
        :raises TypeError: if the id is not a string
        :raises ValueError: if the id or ``when_finished`` is not valid
        """
        template = self._template('bar')
        return Markup(
            template(
                request=self.request,
                progress_id=progress_id,
                when_finished=when_finished,
                no_count=no_count,
                no_elapsed=no_elapsed,
            )
        )

    def preload(self, progress_ids: Iterable[str]) -> None:
        """Read the statuses of several tasks in one call of the store, for the bars of this request.

        Without this, each bar reads its own.

        :param progress_ids: the ids of tasks
        """
        try:
            self._statuses |= self.visitor.visible_statuses([check_id(progress_id) for progress_id in progress_ids])
        except StorageError:
            return  # each bar shows it

    def form(self) -> Markup:
        """Return the place of the bar in a form whose POST is the slow work.

        The bar is shown while the browser waits for the answer. The form sends the bar's ``progress_id``, which
        :meth:`.request.Progress.start` uses. A form with the attribute ``data-progress`` has the bar at its end,
        without this.
        """
        return Markup(self._template('form')())

    def tasks(self) -> Markup:
        """Return the tasks that the request may list, by the ``tag``, ``status`` and ``before`` of its query string."""
        return Markup(self._template('tasks')(request=self.request))

    @cached_property
    def visitor(self) -> Visitor:
        """The user of the request."""
        return Visitor(self.request)

    # The templates use what follows.

    @property
    def client_config(self) -> str:
        """The settings of the script, as JSON text: the URLs, the intervals in ms, the language, the words.

        ``events`` is missing if there are no event streams.

        The ``channel`` is an opaque key of the user: tabs of other users of the same browser do not share it.
        """
        translate = localizer_of(self.request).translate
        settings = get_runtime(self.request.registry).settings
        events = settings.events_url
        if events is None and offers_streams(self.request):
            events = self.request.route_path('progress_events')
        return json.dumps(
            {
                'src': self.request.route_path('progress_status'),
                **({'events': events} if events else {}),
                'min': round(settings.poll_min * 1000),
                'max': round(settings.poll_max * 1000),
                'channel': hashlib.blake2b(
                    (self.visitor.userid or '').encode('utf-8', 'surrogatepass'), digest_size=12
                ).hexdigest(),
                'lang': language_of(self.request),
                'words': {name: translate(word) for name, word in BAR.items()},
            }
        )

    @property
    def csrf_field(self) -> dict[str, str] | None:
        """The hidden field that a form needs, see :func:`.csrf.field`."""
        return csrf.field(self.request)

    @property
    def csrf_header(self) -> dict[str, str] | None:
        """The header that a request needs, see :func:`.csrf.header`."""
        return csrf.header(self.request)

    @property
    def task_list(self) -> TaskList:
        """What the macro ``tasks`` draws."""
        listed = task_list(self.request, self.visitor)
        self._statuses |= listed.statuses
        return listed

    def static_path(self, name: str) -> str:
        """Return the path of a file of the widget."""
        path: str = self.request.static_path(f'{PACKAGE}:static/{name}')
        return path

    def describe(self, progress_id: str, status: Status | None = None, when_finished: str | None = None) -> Bar:
        """Return what a bar shows of a task at this moment, without acknowledging its end.

        :param progress_id: the task's id
        :param status: its status, if that was read already
        :param when_finished: see :meth:`bar`
        :raises TypeError: if the id is not a string
        :raises ValueError: if the id or ``when_finished`` is not valid
        """
        check_id(progress_id)
        if when_finished not in _WHEN_FINISHED:
            raise ValueError(f"when_finished is {when_finished!r}; it must be 'reload', 'result' or None")
        try:
            if status is None and progress_id not in self._statuses:
                self._statuses |= self.visitor.visible_statuses([progress_id])
            return self._describe(status or self._statuses[progress_id])
        except StorageError:
            return self._describe(UNKNOWN, trouble=True)

    def missing(self, macro: str, variable: str) -> NoReturn:
        """Report that a macro is used without a variable that it needs.

        :raises NameError: always
        """
        raise NameError(f'the macro {macro!r} of pyramid_progress needs a variable {variable!r} where it is used')

    def _describe(self, status: Status, *, trouble: bool = False) -> Bar:
        translate = localizer_of(self.request).translate
        percent = percentage(status)
        state = 'trouble' if trouble else bar_state(status)
        current = to_float(status.get('current'))
        if state == 'cancelled':
            amount = ''  # how far the task came is of no use
        elif percent is not None:
            amount = format_percent(percent, translate)
        else:
            amount = format_number(current, translate) if current else ''
        # A status word of the application's own is shown as it is.
        is_own = state in ('running', 'indeterminate') and status['status'] != 'running'
        word = status['status'] if is_own else translate(BAR[state])
        label = _text(status.get('label'))
        result = status.get('result')
        result = result if isinstance(result, dict) else {}
        result_url = _text(result.get('url'))
        if not _WEB_URL.match(result_url):
            result_url = ''
        return Bar(
            status=None if trouble else json.dumps(status),
            state=state,
            word=word,
            label=label,
            message=_text(status.get('message')),
            amount=amount,
            count=_count(status, translate) if percent is not None and state not in _UNCOUNTED_STATES else '',
            elapsed=_elapsed(status, translate) if state in _TIMED_STATES else '',
            value=None if state == 'indeterminate' else f'{percent or 0:g}',
            name=label or translate(BAR['progress']),
            value_text=f'{amount}, {word}' if amount else word,
            result_url=result_url or None,
            result_text=_text(result.get('text')) or (translate(BAR['result']) if result_url else ''),
            is_over=state in TERMINAL_STATUSES,
            is_cancellable='cancellable' in status,
            cancel=translate(CANCEL),
            refresh=translate(REFRESH),
        )

    def _template(self, name: str) -> Any:
        spec = f'{PACKAGE}:web/templates/{name}.pt'
        return get_renderer(spec, registry=self.request.registry).implementation()


def _text(value: Any) -> str:
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ''


def _count(status: Status, translate: Translate) -> str:
    current, length = to_float(status.get('current')), to_float(status.get('length'))
    return '' if length is None else format_count(current or 0, length, translate)


def _elapsed(status: Status, translate: Translate) -> str:
    try:
        started = datetime.fromisoformat(status['started']).timestamp()
    except (KeyError, TypeError, ValueError):
        return ''  # the task was never initialised
    seconds = time.time() - started
    return format_elapsed(seconds, translate) if seconds >= 1 else ''
