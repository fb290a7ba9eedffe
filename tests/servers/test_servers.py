"""Every server with every region that processes share: submit, poll, cancel, reload, stop."""

import signal

import pytest
from support.wsgi_servers import GUNICORN, SERVERS, UWSGI

REGIONS = ('sqlite', 'file', 'ext:redis')


def live(sites, *, can_reload):
    """Take sites through the life of a server."""
    for site in sites:
        site.old = site.get('/pid')
        site.endless = site.submit(600)
    for site in sites:
        site.wait_for(site.endless, status='running')
        assert site.cancel(site.endless)['status'] in ('cancelling', 'cancelled')
    for site in sites:
        site.wait_for(site.endless, status='cancelled')
        site.short, site.endless = site.submit(1), site.submit(600)
    for site in sites:
        site.wait_for(site.short)
        site.wait_for(site.endless)
        assert site.status(site.short)['status'] == 'running'
        site.server.process.send_signal(signal.SIGHUP if can_reload else signal.SIGTERM)
    for site in sites:
        if not can_reload:
            site.server.process.wait(15)
            site.server.start()
        site.wait_for(site.short, status='finished')
        site.wait_for(site.endless, status='failed', message='This task was interrupted.')
        site.wait_for(site.submit(0.1), status='finished')
        site.endless = site.submit(600)
    for site in sites:
        site.wait_for(site.endless, status='running')
        site.server.process.send_signal(signal.SIGTERM)
    for site in sites:
        site.server.process.wait(15)


#: One region of a server for `make test`; the others are for `make check`.
REPRESENTATIVES = {
    'gunicorn sync': 'sqlite',
    'gunicorn gthread': 'ext:redis',
    'gunicorn gevent': 'file',
    'uwsgi': 'ext:redis',
    'uwsgi threads': 'file',
    'waitress': 'sqlite',
}
CASES = [pytest.param(name, [region], id=f'{name}-{region}') for name, region in REPRESENTATIVES.items()]
CASES += [
    pytest.param(
        name, [region for region in REGIONS if region != REPRESENTATIVES.get(name)], marks=pytest.mark.slow, id=name
    )
    for name in SERVERS
]


@pytest.mark.parametrize(('name', 'regions'), CASES)
def test_the_life_of_a_server(start, name, regions):
    if 'uwsgi' in name:
        pytest.importorskip('pyuwsgi')
    live([start(SERVERS[name], region) for region in regions], can_reload=name != 'waitress')


def test_gevent_after_the_application(start):
    """With --preload, gunicorn patches the modules of Python in its workers, when the application is loaded.

    The work is done, but not more can be said: locks of Python itself were made before, too.
    """
    site = start([*GUNICORN, '--worker-class', 'gevent', '--preload'], 'sqlite')
    site.wait_for(site.submit(0.1), status='finished')
    assert 'gevent.monkey.patch_all() was called after pyramid_progress was imported' in site.log


@pytest.mark.slow
def test_uwsgi_without_threads(start):
    pytest.importorskip('pyuwsgi')
    site = start(UWSGI, 'sqlite')
    progress_id = site.submit(0.1)
    assert 'uWSGI runs no threads of Python' in site.log
    assert site.status(progress_id)['status'] in ('pending', 'running')
    site.stop()
