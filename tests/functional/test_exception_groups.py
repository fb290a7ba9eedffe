"""What answers a request whose view raises a group of exceptions (Python 3.11 and later)."""

import builtins

import pytest
from pyramid.config import Configurator
from pyramid.response import Response
from webtest import TestApp

from pyramid_progress import ProgressError, TaskCancelled

ExceptionGroup = getattr(builtins, 'ExceptionGroup', None)

pytestmark = pytest.mark.skipif(ExceptionGroup is None, reason='Python 3.10 has no exception groups')

SETTINGS = {'cache.regions': 'default, persistent', 'cache.type': 'memory'}


def app_that_raises(error, *, exception_view=None):
    """Return an application whose only view raises *error*, with a view of its own for every other exception."""

    def view(request):
        raise error

    with Configurator(settings=SETTINGS) as config:
        config.include('pyramid_progress')
        config.add_route('work', '/work')
        config.add_view(view, route_name='work')
        if exception_view:
            config.add_exception_view(exception_view)
    return TestApp(config.make_wsgi_app())


def teapot(error, request):
    return Response(type(error).__name__, status=418)


def test_a_group_of_cancels_is_answered_as_a_cancel():
    group = ExceptionGroup('', [TaskCancelled(), ExceptionGroup('', [TaskCancelled()])])
    answer = app_that_raises(group, exception_view=teapot).post('/work', status=409)
    assert 'This was cancelled.' in answer.text


@pytest.mark.parametrize('other', [KeyError('x'), ProgressError('Line 3')])
def test_another_group_is_raised(other):
    group = ExceptionGroup('', [TaskCancelled(), other])
    with pytest.raises(ExceptionGroup) as raised:
        app_that_raises(group).post('/work')
    assert raised.value is group


def test_another_group_gets_the_exception_view_of_the_application():
    group = ExceptionGroup('', [TaskCancelled(), KeyError('x')])
    assert app_that_raises(group, exception_view=teapot).post('/work', status=418).text == 'ExceptionGroup'
