"""One runtime per application: settings and storage in its registry, and a default for all other code."""

import gc
import logging
import threading
import time
import weakref
from contextlib import contextmanager

import pytest
from beaker.cache import cache_regions
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError
from pyramid.registry import Registry
from pyramid.threadlocal import manager
from webtest import TestApp

from pyramid_progress import (
    configure,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    runtime,
    set_progress_status,
    start_task,
)
from pyramid_progress.configuration import includeme
from pyramid_progress.runtime import get_runtime


class Mary:
    """A security policy under which every user is mary."""

    def authenticated_userid(self, request):
        return 'mary'

    def permits(self, request, context, permission):
        return True


def make(settings, *, commit=True):
    config = Configurator(settings=settings, security_policy=Mary())
    config.include('pyramid_progress')
    if commit:
        config.commit()
    return config


def sqlite(directory):
    return {'cache.regions': 'default, persistent', 'cache.type': 'sqlite', 'cache.data_dir': str(directory)}


MEMORY = {'cache.regions': 'default, persistent', 'cache.type': 'memory'}


@contextmanager
def current(config):
    """Make an application the current one, as its router does."""
    manager.push({'registry': config.registry, 'request': None})
    try:
        yield
    finally:
        manager.pop()


@pytest.mark.parametrize('settings', [sqlite, lambda directory: MEMORY], ids=['sqlite', 'memory'])
def test_each_application_has_the_tasks_of_its_own_regions(tmp_path, settings):
    first, second = make(settings(tmp_path / 'first')), make(settings(tmp_path / 'second'))
    with current(first):
        init_progress_status('job', 'mary', 'First')
    with current(second):
        assert get_running_tasks() == set()
        init_progress_status('job', 'mary', 'Second')
    with current(first):
        assert get_progress_status('job')['label'] == 'First'


def test_users_of_the_same_name_do_not_see_each_others_tasks_in_another_application(tmp_path):
    first, second = make(sqlite(tmp_path / 'first')), make(sqlite(tmp_path / 'second'))
    with current(first):
        init_progress_status('job', 'mary', 'Salaries')
    seen = [
        TestApp(config.make_wsgi_app()).get('/progress_tasks', headers={'Accept': 'application/json'}).json['tasks']
        for config in (first, second)
    ]
    assert [list(tasks) for tasks in seen] == [['job'], []]


def test_applications_with_equal_stores_and_namespaces_share_their_tasks(tmp_path):
    first, second = make(sqlite(tmp_path)), make(sqlite(tmp_path))
    with current(first):
        init_progress_status('job', 'mary', 'Shared')
    with current(second):
        assert get_progress_status('job')['label'] == 'Shared'


def test_each_application_has_its_own_settings():
    make({**MEMORY, 'progress.linger': '5'})
    second = make({**MEMORY, 'progress.linger': '7'})
    assert get_runtime().settings.linger == 5
    assert get_runtime(second.registry).settings.linger == 7


def test_code_outside_of_applications_uses_the_first_one_that_was_included(tmp_path):
    first = make(sqlite(tmp_path / 'first'))
    make(sqlite(tmp_path / 'second'))
    init_progress_status('job', None, 'Outside')
    with current(first):
        assert get_progress_status('job')['label'] == 'Outside'


def test_configure_sets_what_code_outside_of_applications_uses(tmp_path):
    first = make(sqlite(tmp_path / 'first'))
    assert configure(sqlite(tmp_path / 'worker')) is get_runtime()
    init_progress_status('job', None, 'Worker')
    with current(first):
        assert get_running_tasks() == set()
    make(sqlite(tmp_path / 'second'))
    assert get_running_tasks() == {'job'}


def test_a_failed_configure_changes_nothing(tmp_path):
    before = configure(sqlite(tmp_path))
    with pytest.raises(ConfigurationError, match=r"progress\.expire = 'soon'"):
        configure({'progress.expire': 'soon'})
    assert get_runtime() is before


def test_an_application_without_regions_of_its_own_does_not_use_those_of_another(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    first = make(sqlite(tmp_path))
    second = make({})
    assert [record.getMessage()[:40] for record in caplog.records] == [
        "The Beaker cache region 'default' has no",
        "The Beaker cache region 'persistent' has",
    ]
    with current(second):
        init_progress_status('job', None, 'Second')
    with current(first):
        assert get_running_tasks() == set()


@pytest.mark.parametrize('settings', [sqlite, lambda directory: MEMORY], ids=['sqlite', 'memory'])
def test_an_application_without_regions_of_its_own_uses_those_that_configure_set_up(tmp_path, settings):
    configure(settings(tmp_path))
    init_progress_status('job', 'mary', 'Outside')
    with current(make({})):
        assert get_progress_status('job')['label'] == 'Outside'


def test_an_application_follows_regions_that_other_code_sets_up_later(tmp_path):
    config = make(MEMORY)
    cache_regions['default'] = cache_regions['persistent'] = {'type': 'sqlite', 'data_dir': str(tmp_path)}
    with current(config):
        init_progress_status('job', None, 'Moved')
        assert get_runtime().region_types() == {'default': 'sqlite', 'persistent': 'sqlite'}
    assert list(tmp_path.glob('*.db'))


def test_a_memory_region_keeps_its_tasks_when_other_regions_were_used_in_between(tmp_path):
    configure(MEMORY)
    init_progress_status('job', None, 'Kept')
    before = dict(cache_regions)
    cache_regions['default'] = cache_regions['persistent'] = {'type': 'sqlite', 'data_dir': str(tmp_path)}
    assert get_running_tasks() == set()
    cache_regions.update(before)
    assert get_running_tasks() == {'job'}


def test_a_task_keeps_the_runtime_that_it_was_started_in(tmp_path):
    first, second = make(sqlite(tmp_path / 'first')), make(sqlite(tmp_path / 'second'))
    with current(first):
        task = start_task('Work')
    with current(second):
        task.finish('done')
        assert get_progress_status(task.id) == {'status': 'unknown'}
    with current(first):
        assert get_progress_status(task.id)['message'] == 'done'


def test_nothing_is_set_up_before_the_configuration_is_committed():
    before = get_runtime()
    config = make(MEMORY, commit=False)
    assert runtime.REGISTRY_KEY not in config.registry
    assert get_runtime() is before
    config.commit()
    assert get_runtime() is get_runtime(config.registry) is not before


def test_two_different_inclusions_are_a_conflict_that_pyramid_reports():
    config = Configurator(settings=MEMORY)
    includeme(config)
    config.include('pyramid_progress')
    config.commit()  # an inclusion overrides nothing that the application itself did: the first one wins
    again = Configurator(settings=MEMORY)
    again.include(lambda config: includeme(config))
    again.include('pyramid_progress')
    with pytest.raises(ConfigurationError, match='pyramid_progress'):
        again.commit()


def test_the_runtime_is_introspectable():
    config = make({**MEMORY, 'progress.threads': '3'})
    [entry] = config.introspector.get_category('pyramid_progress')
    assert entry['introspectable']['settings'].threads == 3
    assert entry['introspectable']['regions'] == {'default': 'memory', 'persistent': 'memory'}


def test_sixty_applications_leave_no_thread_and_no_registry():
    def work(request):
        return {'id': request.progress.submit(lambda task: None, label='Work')}

    registries = []
    before = threading.active_count()
    for _ in range(60):
        config = make(MEMORY)
        config.add_route('work', '/work')
        config.add_view(work, route_name='work', renderer='json')
        registries.append(weakref.ref(config.registry))
        assert TestApp(config.make_wsgi_app()).get('/work').json['id']
    del config

    def left():
        gc.collect()
        return sum(registry() is not None for registry in registries)

    deadline = time.monotonic() + 15
    while (threading.active_count() > before or left() > 1) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert threading.active_count() <= before
    assert left() <= 1  # Pyramid itself may keep the last one


def test_the_views_do_not_use_the_renderer_json_of_the_application():
    config = Configurator(settings=MEMORY)
    config.add_renderer('json', lambda info: lambda value, system: 'replaced')
    config.include('pyramid_progress')
    app = TestApp(config.make_wsgi_app())
    set_progress_status('job', message='Reading')
    assert app.get('/progress_status?progress_id=job').json['message'] == 'Reading'


def test_a_registry_without_the_add_on_uses_the_default():
    configure(MEMORY)
    assert get_runtime(Registry()) is get_runtime()
