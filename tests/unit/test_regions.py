"""The two regions: how settings and applications set them up."""

import logging
import subprocess
import sys

import pytest
from beaker.cache import cache_regions
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError
from pyramid.interfaces import ISessionFactory

from pyramid_progress import configure, get_progress_status, get_running_tasks, init_progress_status
from pyramid_progress.runtime import current_store


def include(settings):
    config = Configurator(settings=settings)
    config.include('pyramid_progress')
    config.commit()
    return config


STARTS = [include, configure]


@pytest.fixture(autouse=True)
def _warnings(caplog):
    caplog.set_level(logging.WARNING)


@pytest.mark.parametrize('start', STARTS)
@pytest.mark.parametrize('prefix', ['cache.', 'beaker.cache.'])
def test_regions_that_the_ini_names_are_set_from_it(start, prefix, tmp_path, caplog):
    settings = {
        'regions': 'short_term, default, persistent',
        'data_dir': f' {tmp_path}/data ',
        'lock_dir': f'{tmp_path}/locks',
        'type': 'file',
        'expire': '90',
        'default.type': 'memory',
        'persistent.expire': '120',
        'short_term.expire': '5',
    }
    start({f'{prefix}{name}': value for name, value in settings.items()})
    assert cache_regions['default']['type'] == 'memory'
    assert cache_regions['default']['expire'] == 90
    assert cache_regions['persistent'] == {
        'type': 'file', 'expire': 120, 'data_dir': f'{tmp_path}/data', 'lock_dir': f'{tmp_path}/locks', 'enabled': True,
        'key_length': 250, 'url': None,
    }  # fmt: skip
    assert current_store().expire == 120
    assert caplog.records == []


def test_settings_may_have_values_that_are_not_strings(tmp_path):
    configure(
        {
            'cache.regions': ['default', 'persistent'],
            'cache.type': 'file',
            'cache.data_dir': tmp_path / 'data',
            'cache.expire': 90,
            'cache.enabled': False,
            'unrelated': None,
        }
    )
    assert cache_regions['persistent']['expire'] == 90
    init_progress_status('job', 'ann', 'Import')
    assert get_running_tasks() == {'job'}


@pytest.mark.parametrize('start', STARTS)
def test_a_region_that_is_not_set_up_is_in_memory_with_one_warning(start, caplog):
    start({})
    assert cache_regions == {'default': {'type': 'memory'}, 'persistent': {'type': 'memory'}}
    assert [record.levelname for record in caplog.records] == ['WARNING', 'WARNING']
    for name, record in zip(('default', 'persistent'), caplog.records, strict=True):
        assert f"region '{name}'" in record.getMessage()
        assert 'other processes will see nothing' in record.getMessage()
    caplog.clear()
    start({})
    assert caplog.records == []


@pytest.mark.parametrize('start', STARTS)
@pytest.mark.parametrize('missing', ['default', 'persistent'])
def test_only_one_region_that_is_not_set_up(start, missing, caplog):
    other = {'default': 'persistent', 'persistent': 'default'}[missing]
    start({'cache.regions': other, f'cache.{other}.type': 'memory'})
    assert cache_regions[missing] == {'type': 'memory'}
    [record] = caplog.records
    assert f"region '{missing}'" in record.getMessage()


def test_a_region_that_the_ini_names_without_a_type_is_in_memory_with_one_warning(caplog):
    """pyramid_beaker makes the string 'None' of a missing type."""
    configure({'cache.regions': 'default, persistent', 'cache.persistent.type': 'memory', 'cache.expire': '70'})
    assert cache_regions['default']['type'] == 'memory'
    assert cache_regions['default']['expire'] == 70
    [record] = caplog.records
    assert "region 'default'" in record.getMessage()


@pytest.mark.parametrize('start', STARTS)
def test_regions_of_the_application_are_left_alone(start, tmp_path, caplog):
    mine = {
        'default': {'type': 'memory', 'expire': 5},
        'persistent': {'type': 'file', 'data_dir': str(tmp_path), 'my_option': object()},
        'pages': {'type': 'memory', 'expire': 1},
    }
    cache_regions.update({name: dict(options) for name, options in mine.items()})
    regions = {name: cache_regions[name] for name in mine}
    start({'cache.regions': 'short_term', 'cache.type': 'dbm', 'cache.expire': '3', 'cache.default.expire': '4'})
    assert cache_regions == mine
    assert all(cache_regions[name] is options for name, options in regions.items())
    assert caplog.records == []
    assert current_store().expire == 86400


def test_the_ini_replaces_a_region_that_it_names(caplog):
    cache_regions['persistent'] = {'type': 'file', 'data_dir': '/nonexistent', 'expire': 5}
    cache_regions['default'] = {'type': 'memory'}
    configure({'cache.regions': 'persistent', 'cache.persistent.type': 'memory', 'cache.persistent.expire': '77'})
    assert (cache_regions['persistent']['type'], cache_regions['persistent']['expire']) == ('memory', 77)
    assert caplog.records == []


@pytest.mark.parametrize('start', STARTS)
def test_other_regions_of_the_ini_are_not_set(start):
    cache_regions['short_term'] = mine = {'type': 'memory', 'expire': 1}
    start({'cache.regions': 'short_term, long_term, default', 'cache.type': 'memory', 'cache.expire': '9'})
    assert cache_regions['short_term'] is mine
    assert mine == {'type': 'memory', 'expire': 1}
    assert set(cache_regions) == {'short_term', 'default', 'persistent'}


def test_invalid_settings_of_other_regions_are_ignored():
    configure({'cache.regions': 'pages, default, persistent', 'cache.type': 'memory', 'cache.pages.expire': 'soon'})
    assert set(cache_regions) == {'default', 'persistent'}


def test_the_session_factory_is_not_touched():
    config = include({'session.type': 'memory', 'session.key': 'mine'})
    assert config.registry.queryUtility(ISessionFactory) is None
    factory = object()
    config = Configurator(settings={}, session_factory=lambda request: factory)
    config.include('pyramid_progress')
    config.commit()
    assert config.registry.getUtility(ISessionFactory)(None) is factory


@pytest.mark.parametrize(
    ('settings', 'expire'),
    [
        ({}, 86400),
        ({'cache.regions': 'persistent'}, 86400),
        ({'cache.regions': 'persistent', 'progress.expire': '500'}, 500),
        ({'cache.regions': 'persistent', 'cache.expire': '60', 'progress.expire': '500'}, 60),
        ({'cache.regions': 'persistent', 'cache.persistent.expire': '60', 'progress.expire': '500'}, 60),
        ({'cache.regions': 'persistent', 'beaker.cache.persistent.expire': '7.2'}, 8),
        ({'cache.regions': 'persistent,default', 'cache.default.expire': '5', 'progress.expire': '500'}, 500),
        ({'progress.expire': '0.5'}, 0.5),
    ],
)
def test_how_long_a_status_lives(settings, expire):
    configure({'cache.type': 'memory'} | settings)
    assert current_store().expire == expire


@pytest.mark.parametrize(('given', 'expire'), [({}, 86400), ({'expire': 60}, 60), ({'expire': None}, 86400)])
def test_how_long_a_status_lives_in_a_region_of_the_application(given, expire):
    cache_regions['persistent'] = {'type': 'memory'} | given
    configure({})
    assert current_store().expire == expire


def test_regions_of_other_names():
    configure(
        {
            'progress.tasks_region': 'tasks',
            'progress.status_region': 'statuses',
            'cache.regions': 'tasks, statuses, default',
            'cache.type': 'memory',
            'cache.statuses.expire': '30',
        }
    )
    assert set(cache_regions) == {'tasks', 'statuses'}
    assert current_store().expire == 30
    init_progress_status('job', 'ann', 'Import')
    assert get_running_tasks() == {'job'}


def test_one_region_for_both():
    configure({'progress.tasks_region': 'persistent'})
    assert set(cache_regions) == {'persistent'}
    init_progress_status('job', 'ann', 'Import')
    assert get_running_tasks() == {'job'}


def test_the_error_before_any_region_is_set_up_says_what_to_do():
    with pytest.raises(ConfigurationError, match=r"'persistent' is not set up|'default' is not set up"):
        get_progress_status('job')


def test_a_region_that_becomes_invalid_later_is_an_error_at_the_next_call():
    configure({})
    cache_regions['persistent'] = {'type': 'file'}
    with pytest.raises(ConfigurationError, match='data_dir'):
        get_progress_status('job')
    cache_regions['persistent'] = {'type': 'memory'}
    assert get_progress_status('job') == {'status': 'unknown'}


def test_a_worker_that_is_not_a_pyramid_application(tmp_path):
    """The other process and this one see the same tasks, from the same settings."""
    settings = {'cache.regions': 'default, persistent', 'cache.type': 'file', 'cache.data_dir': f'{tmp_path}/data'}
    program = (
        f"import pyramid_progress as p\np.configure({settings!r})\np.init_progress_status('job', 'ann', 'Import')\n"
    )
    subprocess.run([sys.executable, '-c', program], check=True)
    configure(settings)
    assert get_progress_status('job')['label'] == 'Import'
