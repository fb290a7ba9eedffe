"""A page that shows a bar in each state.

The statuses of this page never change, except one, which shows the rate and the time left. States that depend on the
answer of the server, such as connection trouble, come from real answers of :func:`answer`.
"""

# Pyramid has no types.
# mypy: disable-error-code="untyped-decorator"

import time
from collections.abc import Callable
from datetime import datetime, timezone
from html import escape
from typing import Any, NamedTuple

from pyramid.httpexceptions import (
    HTTPBadRequest,
    HTTPException,
    HTTPForbidden,
    HTTPNotFound,
    HTTPServiceUnavailable,
    HTTPUnauthorized,
)
from pyramid.renderers import render
from pyramid.request import Request
from pyramid.view import view_config

from pyramid_progress.web.i18n import language_of
from pyramid_progress.web.rendering import Markup

Status = dict[str, Any]

_WORK: Status = {
    'status': 'running',
    'label': 'Import of animals.csv',
    'message': 'Reading the rows',
    'current': 420,
    'length': 1000,
    'started': datetime.fromtimestamp(time.time() - 72, timezone.utc).isoformat(),
}
_LONG_LABEL = (
    'Import of customers, their addresses, orders and invoices of the years from 1998 to 2024, from'
    ' customers_addresses_orders_and_invoices_final_version_really_final_2024-06-30.csv'
)
_LONG_MESSAGE = (
    'Line 31,415 has a customer that is in no other file: the orders are imported without an address, and are at'
    ' https://shop.example/customers/without-an-address/to-be-checked-before-the-next-import?sort=name&page=314'
)


class Example(NamedTuple):
    """A bar of the page."""

    #: its progress id
    id: str
    #: the state, or what is special in the status
    title: str
    #: the reason of that
    reason: str
    #: the status when the page is loaded
    status: Status
    #: what answers its polls: a key of :data:`_SERVERS`
    server: str = 'steady'
    #: the attribute ``patience``: ms that it waits for a task to start
    patience: int = 30_000


#: The states, as docs/reference/element.md lists them.
STATES = [
    Example('waiting', 'waiting', 'It has not started yet.', {'status': 'pending', 'label': 'Import of animals.csv'}),
    Example('running', 'running', 'The visitor may cancel it.', _WORK | {'cancellable': True}),
    Example(
        'indeterminate',
        'indeterminate',
        'Its length is not known.',
        _WORK | {'message': 'Reading the file', 'current': 31_415, 'length': None},
    ),
    Example('stalled', 'stalled', 'Its heartbeats have stopped.', _WORK | {'status': 'stalled', 'cancellable': True}),
    Example('cancelling', 'cancelling', 'It was asked to stop.', _WORK | {'status': 'cancelling'}),
    Example(
        'finished',
        'finished',
        'It has a link to the result.',
        _WORK
        | {
            'status': 'finished',
            'message': 'Rows: 1,000',
            'current': 1000,
            'result': {'url': '/', 'text': 'Look at the rows'},
        },
    ),
    Example(
        'failed',
        'failed',
        'An error ended it.',
        _WORK | {'status': 'failed', 'message': 'Line 420 has 1 cell; line 1 names 2 columns.'},
    ),
    Example('cancelled', 'cancelled', 'It was stopped on request.', _WORK | {'status': 'cancelled'}),
    Example('lost', 'lost', 'The server had a status, and has none any more.', _WORK, 'forgetful'),
    Example('unknown', 'unknown', 'The server has no status.', {'status': 'unknown'}, 'forgetful', patience=1000),
    Example('trouble', 'trouble', 'The server answers 503: the store is down.', _WORK, 'overloaded'),
    Example('signed-out', 'signed-out', 'The server answers 401: the visitor must log in.', _WORK, 'login'),
    Example('forbidden', 'forbidden', 'The server answers 403: the visitor has no permission.', _WORK, 'forbidding'),
]

#: Special contents of a status.
CONTENTS = [
    Example('long-label', 'A long label', 'Some of its words are longer than a line.', _WORK | {'label': _LONG_LABEL}),
    Example(
        'long-message',
        'A long message',
        'It ends with a long address.',
        _WORK | {'message': _LONG_MESSAGE, 'cancellable': True},
    ),
    Example(
        'other-direction',
        'Text of the other direction',
        'Arabic and Hebrew on a page in English.',
        _WORK | {'label': 'استيراد animals.csv', 'message': 'קריאת השורות'},
    ),
    Example('no-label', 'No label', 'Its accessible name is “Progress”.', _WORK | {'label': None}),
    Example('bare', 'Nothing but a position', 'The task was never initialised.', {'status': 'running', 'current': 7}),
    Example('own-word', 'Another status word', 'It is shown unchanged.', _WORK | {'status': 'unpacking'}),
    Example(
        'result-without-link',
        'A result without a link',
        'It has only a text.',
        _WORK | {'status': 'finished', 'message': None, 'result': {'text': '1,000 rows, 2 of them empty'}},
    ),
    Example(
        'nothing-to-do',
        'A length of 0',
        'It is complete.',
        _WORK | {'message': 'The file is empty', 'current': 0, 'length': 0},
    ),
    Example(
        'beyond',
        'A position beyond the length',
        'The bar is full.',
        _WORK | {'current': 1042},
    ),
    Example(
        'moving',
        'Time left and rate',
        'They are shown after some seconds.',
        _WORK | {'current': None, 'length': 10_000},
        'busy',
    ),
]

_STATUSES = {example.id: example.status for example in (*STATES, *CONTENTS)}

Server = Callable[[list[str]], Status | HTTPException]


def _statuses(progress_ids: list[str], known: dict[str, Status]) -> Status:
    found = {progress_id: known.get(progress_id, {'status': 'unknown'}) for progress_id in progress_ids}
    return found if len(found) > 1 else found[progress_ids[0]]


def _moving(progress_ids: list[str]) -> Status:
    moved = _STATUSES['moving'] | {'current': int(time.time() * 20) % 10_000}
    return _statuses(progress_ids, {'moving': moved})


_SERVERS: dict[str, Server] = {
    'steady': lambda progress_ids: _statuses(progress_ids, _STATUSES),
    'busy': _moving,
    'forgetful': lambda progress_ids: _statuses(progress_ids, {}),
    'overloaded': lambda _: HTTPServiceUnavailable('Try again later.', headers={'Retry-After': '30'}),
    'login': lambda _: HTTPUnauthorized('Log in first.'),
    'forbidding': lambda _: HTTPForbidden('This needs a permission.'),
}


@view_config(route_name='states', request_method='GET', renderer='templates/states.pt')
def states(request: Request) -> dict[str, Any]:
    """Show the page, with ``?dir=rtl`` from right to left, with ``?theme=light`` or ``?theme=dark`` in that theme."""
    return {
        'direction': _one_of(request, 'dir', 'rtl'),
        'theme': _one_of(request, 'theme', 'light', 'dark'),
        'language': language_of(request),
        'groups': [('states', 'States', STATES), ('contents', 'Contents', CONTENTS)],
        'draw': lambda example: draw(request, example),
    }


def _one_of(request: Request, name: str, *choices: str) -> str | None:
    value = request.GET.get(name)
    return value if value in choices else None


def draw(request: Request, example: Example) -> Markup:
    """Return the bar of an example: the element of the add-on with another URL for its polls."""
    names = {'progress_id': example.id, 'pyramid_progress_status': example.status}
    element = render('pyramid_progress:web/templates/bar.pt', names, request)
    own = f'src="{escape(request.route_path("progress_status"))}"'
    src = request.route_path('states_status', server=example.server)
    return Markup(element.replace(own, f'src="{escape(src)}" patience="{example.patience}"', 1))


@view_config(route_name='states_status', request_method='GET', renderer='json', http_cache=0)
def answer(request: Request) -> Status | HTTPException:
    """Answer a poll, as the server of that name does."""
    server = _SERVERS.get(request.matchdict['server'])
    if server is None:
        raise HTTPNotFound
    progress_ids = request.GET.getall('progress_id')
    return server(progress_ids) if progress_ids else HTTPBadRequest('Missing argument')
