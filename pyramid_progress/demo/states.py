"""A page that shows a bar in every state at once, to look at.

Nothing happens there: but for one, which shows how fast it moves, the statuses of this page never change. What a bar
shows of a server that does not answer as it should, it learns from a server that does not: :func:`answer` is one for
each such answer.
"""

# Pyramid has no types.
# mypy: disable-error-code="untyped-decorator"

import time
from collections.abc import Callable
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

from pyramid_progress.rendering import Markup

Status = dict[str, Any]

_WORK: Status = {
    'status': 'running',
    'label': 'Import of animals.csv',
    'message': 'Row 420 of 1,000',
    'current': 420,
    'length': 1000,
}
_LONG_LABEL = (
    'Import of customers, their addresses, orders and invoices of the years from 1998 to 2024, from'
    ' customers_addresses_orders_and_invoices_final_version_really_final_2024-06-30.csv'
)
_LONG_MESSAGE = (
    'Line 31,415 names a customer who is on no other list: his orders are imported all the same, and go to'
    ' https://shop.example/customers/without-an-address/to-be-looked-at-by-somebody-soon?sort=name&page=314'
)


class Example(NamedTuple):
    """A bar of the page."""

    #: names it in a URL
    id: str
    #: the state, or what is special about the status
    title: str
    #: how that comes about
    reason: str
    #: what is known of it when the page is loaded
    status: Status
    #: whose answer it gets: a key of :data:`_SERVERS`
    server: str = 'steady'
    #: seconds for which it may be unknown
    patience: int = 30


#: The states, as docs/widget.md lists them.
STATES = [
    Example('waiting', 'waiting', 'It has not started yet.', {'status': 'pending', 'label': 'Import of animals.csv'}),
    Example('running', 'running', 'It may be cancelled by the one who looks.', _WORK | {'cancellable': True}),
    Example(
        'indeterminate',
        'indeterminate',
        'Nobody knows how much there is to do.',
        _WORK | {'message': 'Reading the file', 'current': 31_415, 'length': None},
    ),
    Example('stalled', 'stalled', 'Its heart has stopped beating.', _WORK | {'status': 'stalled', 'cancellable': True}),
    Example('cancelling', 'cancelling', 'Somebody asked it to stop.', _WORK | {'status': 'cancelling'}),
    Example(
        'finished',
        'finished',
        'The end, with a link to the result.',
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
    Example('cancelled', 'cancelled', 'It was stopped.', _WORK | {'status': 'cancelled'}),
    Example('lost', 'lost', 'The server knew it, and knows it no longer.', _WORK, 'forgetful'),
    Example('unknown', 'unknown', 'The server never knew it.', {'status': 'unknown'}, 'forgetful', patience=1),
    Example('trouble', 'trouble', 'The server is there, and cannot tell at present.', _WORK, 'overloaded'),
    Example('signed-out', 'signed-out', 'The server asks who is there.', _WORK, 'unacquainted'),
    Example('forbidden', 'forbidden', 'The server does not tell this visitor.', _WORK, 'discreet'),
]

#: What a status may say besides.
CONTENTS = [
    Example('long-label', 'A long label', 'With words that fit no line.', _WORK | {'label': _LONG_LABEL}),
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
        _WORK | {'label': 'استيراد animals.csv', 'message': 'שורה 420 מתוך 1,000'},
    ),
    Example('no-label', 'No label', 'A reader hears “Progress”.', _WORK | {'label': None}),
    Example('bare', 'Nothing but a position', 'A status set without a start.', {'status': 'running', 'current': 7}),
    Example('own-word', 'A status word of its own', 'It is shown as it is.', _WORK | {'status': 'unpacking'}),
    Example(
        'result-without-link',
        'A result without a link',
        'Only a text.',
        _WORK | {'status': 'finished', 'message': None, 'result': {'text': '1,000 rows, 2 of them empty'}},
    ),
    Example(
        'nothing-to-do',
        'A length of 0',
        'All of nothing is done.',
        _WORK | {'message': 'The file is empty', 'current': 0, 'length': 0},
    ),
    Example(
        'beyond',
        'A position beyond the length',
        'The bar is full, not more.',
        _WORK | {'message': 'Row 1,042 of 1,000', 'current': 1042},
    ),
    Example(
        'moving',
        'Time left and rate',
        'They are there once they can be trusted.',
        _WORK | {'message': 'Reading the rows', 'current': None, 'length': 10_000},
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
    'overloaded': lambda _: HTTPServiceUnavailable('Ask again later.', headers={'Retry-After': '30'}),
    'unacquainted': lambda _: HTTPUnauthorized('Who are you?'),
    'discreet': lambda _: HTTPForbidden('This is not for you.'),
}


@view_config(route_name='states', request_method='GET', renderer='templates/states.pt')
def states(request: Request) -> dict[str, Any]:
    """The page. ``?dir=rtl`` turns it round, ``?theme=light`` and ``?theme=dark`` choose its colours."""
    return {
        'direction': _one_of(request, 'dir', 'rtl'),
        'theme': _one_of(request, 'theme', 'light', 'dark'),
        'groups': [('states', 'States', STATES), ('contents', 'Contents', CONTENTS)],
        'draw': lambda example: draw(request, example),
    }


def _one_of(request: Request, name: str, *choices: str) -> str | None:
    value = request.GET.get(name)
    return value if value in choices else None


def draw(request: Request, example: Example) -> Markup:
    """Return the element that shows an example: the add-on's own, but for the server that it asks."""
    names = {'progress_id': example.id, 'progress_status': example.status}
    element = render('pyramid_progress:templates/bar.pt', names, request)
    own = f'src="{escape(request.route_path("progress_status"))}"'
    src = request.route_path('states_status', server=example.server)
    return Markup(element.replace(own, f'src="{escape(src)}" patience="{example.patience}"', 1))


@view_config(route_name='states_status', request_method='GET', renderer='json', http_cache=0)
def answer(request: Request) -> Status | HTTPException:
    """What one of the servers says of the ``progress_id`` arguments."""
    server = _SERVERS.get(request.matchdict['server'])
    if server is None:
        raise HTTPNotFound
    progress_ids = request.GET.getall('progress_id')
    return server(progress_ids) if progress_ids else HTTPBadRequest('Missing argument')
