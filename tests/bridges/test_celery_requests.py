"""What a Celery task gets of the request that sent it with `apply_for`: real workers take it from a real broker."""

import pytest
from pyramid import testing
from pyramid.request import Request

from pyramid_progress.testing import wait_for

pytest.importorskip('celery')


@pytest.fixture
def request_of_a_shop():
    """A request of a visitor who reads German, behind a prefix."""
    with testing.testConfig() as config:
        request = Request.blank('/orders', base_url='https://shop.example/eu')
        request.registry = config.registry
        request.locale_name = 'de'
        yield request


def test_a_worker_that_made_an_application_has_the_host_and_the_locale_of_the_request(shop, worker, request_of_a_shop):
    status = wait_for(shop.link.apply_for(request_of_a_shop, [True]).id)
    assert status['result'] == {'url': 'https://shop.example/eu/export'}
    assert status['message'] == 'de'


def test_a_worker_without_an_application_says_how_to_make_one(shop, start_worker, request_of_a_shop):
    worker = start_worker('bare', '--pool', 'solo')
    wait_for(shop.link.apply_for(request_of_a_shop, [False], queue='bare').id, 'failed')
    assert 'RuntimeError: new_request() needs a Pyramid application' in worker.log.read_text()


def test_an_exception_after_finish_decides(shop, worker):
    status = wait_for(shop.finish_and_fail.apply_async().id, 'failed')
    assert status['message'] == 'An unexpected error ended this task.'
    assert 'result' not in status
