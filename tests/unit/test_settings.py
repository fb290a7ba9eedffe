"""Invalid settings raise ``ConfigurationError`` at startup, and the message names them."""

import os.path

import pytest
from beaker.cache import cache_regions
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError

import pyramid_progress
from pyramid_progress.runtime import current_store, get_runtime


def include(settings):
    Configurator(settings=settings).include('pyramid_progress')


STARTS = [include, pyramid_progress.configure]

REGIONS = {'cache.regions': 'default, persistent', 'cache.type': 'memory'}

BAD_SETTINGS = [
    ('progress.expire', '0'), ('progress.expire', '-1'), ('progress.expire', 'a day'), ('progress.expire', ''),
    ('progress.expire', 'nan'), ('progress.expire', 'inf'), ('progress.expire', None),
    ('progress.linger', '-0.1'), ('progress.linger', 'no'), ('progress.linger', 'nan'), ('progress.linger', []),
    ('progress.timeout', '0'), ('progress.timeout', '-1'), ('progress.timeout', '1 s'), ('progress.timeout', 'inf'),
    ('progress.access', 'public'), ('progress.access', ''), ('progress.access', 'no.such.module'),
    ('progress.access', 'os.no_such_name'), ('progress.access', 'os.sep'), ('progress.access', 1),
    ('progress.threads', '-1'), ('progress.threads', '1.5'), ('progress.threads', 'many'),
    ('progress.drain', '-1'), ('progress.drain', 'long'),
    ('progress.operator_permission', ''), ('progress.permission', ''), ('progress.permission', 3),
    ('progress.poll_min', '0'), ('progress.poll_min', 'often'), ('progress.poll_max', '-1'),
    ('progress.namespace', ' '), ('progress.namespace', 5),
    ('progress.tasks_region', ''), ('progress.status_region', '  '),
    ('progress.expires', '60'), ('progress.', 'x'), ('progress.Expire', '60'), ('progress.no.such', None),
    ('cache.persistent.type', 'no-such-type'), ('cache.default.type', 'ext:nosuch'), ('cache.type', 'Memory'),
    ('cache.persistent.expire', '0'), ('cache.persistent.expire', '-5'), ('cache.persistent.expire', 'soon'),
    ('cache.expire', '-1'), ('beaker.cache.expire', 'x'), ('beaker.cache.default.expire', '-1'),
]  # fmt: skip


@pytest.mark.parametrize('start', STARTS)
@pytest.mark.parametrize(('key', 'value'), BAD_SETTINGS)
def test_an_invalid_setting_is_an_error_at_startup(start, key, value):
    settings = REGIONS | {key: value}
    if key == 'cache.type':
        key = 'cache.default.type'  # of which region it is the type
    with pytest.raises(ConfigurationError) as caught:
        start(settings)
    assert key in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize('start', STARTS)
@pytest.mark.parametrize(
    ('settings', 'complaint'),
    [
        ({'cache.type': 'file'}, 'data_dir'),
        ({'cache.type': 'dbm'}, 'data_dir'),
        ({'cache.type': 'ext:database', 'cache.data_dir': '{directory}'}, 'url'),
        ({'cache.type': 'ext:database', 'cache.data_dir': '{directory}', 'cache.url': 'beaker.db'}, 'the url'),
        ({'cache.type': 'ext:memcached', 'cache.data_dir': '{directory}'}, 'url'),
        ({'cache.type': 'file', 'cache.data_dir': '{directory}/file/data'}, 'Not a directory'),
        ({'cache.persistent.enabled': 'perhaps'}, 'enabled'),
    ],
)
def test_a_region_that_cannot_be_used_is_an_error_at_startup(start, settings, complaint, tmp_path):
    (tmp_path / 'file').write_text('')
    settings = {key: value.format(directory=tmp_path) for key, value in settings.items()}
    with pytest.raises(ConfigurationError, match=complaint):
        start(REGIONS | settings)


def rule(request, progress_id, status):
    return True


@pytest.mark.parametrize(
    ('key', 'value', 'is_now'),
    [
        ('expire', '3600', 3600.0),
        ('expire', 0.5, 0.5),
        ('linger', '0', 0.0),
        ('linger', ' 5 ', 5.0),
        ('timeout', '.25', 0.25),
        ('access', ' owner ', 'owner'),
        ('access', 'id', 'id'),
        ('access', rule, rule),
        ('access', 'os.path.exists', os.path.exists),
        ('access', 'os.path:isdir', os.path.isdir),
        ('permission', 'view', 'view'),
        ('operator_permission', 'operate', 'operate'),
        ('threads', '2', 2),
        ('threads', '0', 0),
        ('drain', '2.5', 2.5),
        ('namespace', ' mine ', 'mine'),
        ('tasks_region', 'tasks', 'tasks'),
    ],
)
def test_valid_settings(key, value, is_now):
    settings = {f'progress.{key}': value}
    assert getattr(pyramid_progress.configure(settings).settings, key) == is_now
    config = Configurator(settings=settings)
    config.include('pyramid_progress')
    assert getattr(get_runtime(config.registry).settings, key) == is_now


def test_the_defaults():
    settings = pyramid_progress.configure({}).settings
    assert (settings.tasks_region, settings.status_region, settings.namespace) == (
        'default', 'persistent', 'pyramid_progress',
    )  # fmt: skip
    assert (settings.expire, settings.linger, settings.timeout) == (86400, None, 1)
    assert (settings.access, settings.permission, settings.operator_permission) == ('auto', None, None)
    assert (settings.threads, settings.drain) == (4, 0)


@pytest.mark.parametrize(
    ('region_type', 'settings', 'linger'),
    [
        ('memory', {}, 86400),
        ('memory', {'progress.expire': '50'}, 50),
        ('sqlite', {'cache.expire': '7000'}, 7000),
        ('file', {}, 3600),
        ('file', {'cache.expire': '70'}, 70),
        ('file', {'progress.linger': '5000'}, 5000),
    ],
)
def test_an_acknowledged_task_lingers_as_long_as_it_costs_nothing(region_type, settings, linger, tmp_path):
    pyramid_progress.configure(REGIONS | {'cache.type': region_type, 'cache.data_dir': str(tmp_path)} | settings)
    assert current_store().linger == linger


def test_settings_with_other_prefixes_are_ignored():
    pyramid_progress.configure({'progressive.expire': 'x', 'progress': 'x', 'my.progress.expire': 'x', 'debug': True})
    assert set(cache_regions) == {'default', 'persistent'}


def test_a_failed_start_leaves_the_settings_unchanged():
    pyramid_progress.configure(REGIONS | {'progress.linger': '7'})
    with pytest.raises(ConfigurationError):
        pyramid_progress.configure(REGIONS | {'progress.linger': '8', 'progress.timeout': '-1'})
    assert get_runtime().settings.linger == 7


def test_the_shortest_time_between_two_polls_is_not_longer_than_the_longest():
    with pytest.raises(ConfigurationError, match=r'progress\.poll_min = 10 is more than progress\.poll_max = 5'):
        pyramid_progress.configure(REGIONS | {'progress.poll_min': '10'})
