"""The Beaker backend `sqlite`, as an application uses Beaker: for caches and for sessions."""

import os
import sqlite3
import time
from contextlib import closing, contextmanager
from threading import Barrier, Event, Thread

import pytest
from beaker.cache import Cache, cache_region, cache_regions, clsmap, region_invalidate
from beaker.exceptions import MissingCacheParameter
from beaker.middleware import SessionMiddleware
from beaker.session import Session
from webtest import TestApp

from pyramid_progress.beaker_sqlite import SqliteNamespaceManager, creation_lock, database


@pytest.fixture
def place(directory):
    """Return the options of a region."""
    return {'type': 'sqlite', 'data_dir': str(directory / 'data')}


@pytest.fixture
def file(directory):
    return directory / 'data' / database.FILE_NAME


@pytest.fixture
def space(place):
    return SqliteNamespaceManager('space', **place)


def rows(file):
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute('SELECT key, expires, expire FROM beaker_cache').fetchall()


def test_it_is_what_beaker_knows_as_sqlite():
    assert clsmap['sqlite'] is SqliteNamespaceManager


class TestNamespace:
    def test_it_is_a_mapping(self, space):
        space['a'] = 1
        space[b'a'] = {'b': [2.5, None, ('c', 'é\0')]}
        assert space['a'] == 1
        assert space[b'a'] == {'b': [2.5, None, ('c', 'é\0')]}
        assert set(space.keys()) == {'a', b'a'}
        assert 'a' in space
        assert space.has_key('a')
        del space['a']
        assert 'a' not in space
        assert space.keys() == [b'a']

    @pytest.mark.parametrize('access', [lambda space: space['none'], lambda space: space.__delitem__('none')])
    def test_what_is_not_there(self, space, access):
        with pytest.raises(KeyError, match='none'):
            access(space)

    def test_namespaces_are_apart(self, space, place):
        other = SqliteNamespaceManager('other', **place)
        space['a'], other['a'] = 'mine', 'theirs'
        space.remove()
        assert space.keys() == []
        assert other['a'] == 'theirs'

    def test_the_same_namespace_elsewhere_in_the_process_has_the_same_in_it(self, space, place):
        space['a'] = 1
        assert SqliteNamespaceManager('space', **place)['a'] == 1

    def test_what_has_expired_is_not_there_and_then_is_deleted(self, space, file, wait_until):
        space.set_value('short', 1, expiretime=0.05)
        space.set_value('long', 2, expiretime=60)
        space['for ever'] = 3
        wait_until(lambda: 'short' not in space, 5, 'it does not expire')
        assert set(space.keys()) == {'long', 'for ever'}
        assert len(rows(file)) == 3
        space['new'] = 4
        assert {key for key, *_ in rows(file)} == {'long', 'for ever', 'new'}

    def test_the_lifetime_of_a_namespace(self, place, file):
        """It may be text, from an ini file."""
        space = SqliteNamespaceManager('space', timeout='60', **place)
        space['a'] = 1
        space.set_value('b', 1, expiretime=5)
        assert {key: expire for key, _, expire in rows(file)} == {'a': 60, 'b': 5}

    def test_a_clock_that_was_put_back(self, space, file):
        space.set_value('a', 1, expiretime=60)
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute('UPDATE beaker_cache SET expires = expires + 1e6, due = due + 1e6')
        space['b'] = 2
        assert {key: (expires or 0) < time.time() + 61 for key, expires, _ in rows(file)} == {'a': True, 'b': True}

    def test_no_data_dir(self):
        with pytest.raises(MissingCacheParameter, match='data_dir'):
            SqliteNamespaceManager('space')

    def test_an_invalid_file(self, place, file):
        file.parent.mkdir()
        file.write_bytes(b'garbage' * 1000)
        with pytest.raises(OSError, match=f'{file}: file is not a database'):
            SqliteNamespaceManager('space', **place)
        file.unlink()
        SqliteNamespaceManager('space', **place)['a'] = 1

    def test_one_that_is_overwritten_later(self, space, file, forked):
        space['a'] = 1
        with forked(lambda: None) as child:  # a fork closes the connection
            assert child.exit_status() == 0
        file.write_bytes(b'garbage' * 1000)
        with pytest.raises(database.DatabaseError, match='not a database'):
            space['a']


class TestCache:
    def test_a_region(self, place, file):
        cache_regions['pages'] = place | {'expire': 60, 'key_length': 250, 'enabled': True, 'url': None}
        calls = []

        @cache_region('pages', 'square')
        def square(number):
            calls.append(number)
            return number * number

        assert [square(3), square(3), square(4)] == [9, 9, 16]
        assert calls == [3, 4]
        region_invalidate(square, 'pages', 'square', 3)
        assert square(3) == 9
        assert calls == [3, 4, 3]
        assert {expire for *_, expire in rows(file)} == {60}

    def test_a_cache(self, place):
        cache = Cache('pages', **place)
        cache.put('a', 1)
        cache['é'] = 2
        assert [cache.get('a'), cache['é']] == [1, 2]
        assert 'a' in cache
        assert cache.get('b', createfunc=lambda: 3) == 3
        cache.remove_value('a')
        cache.remove_value('a')
        assert 'a' not in cache
        cache.clear()
        assert 'b' not in cache

    def test_processes_make_a_value_once(self, place, directory, forked):
        log = directory / 'log'

        def make():
            with log.open('a') as file:
                file.write('made\n')
            time.sleep(0.1)
            return 'value'

        def child():
            for number in range(3):
                assert Cache('pages', **place).get(f'page {number}', createfunc=make) == 'value'

        with forked(child) as one, forked(child) as two, forked(child) as three:
            assert [each.exit_status() for each in (one, two, three)] == [0, 0, 0]
        assert log.read_text() == 3 * 'made\n'

    def test_threads_make_a_value_once(self, place):
        calls, values = [], []
        barrier = Barrier(4)

        def make():
            calls.append(1)
            time.sleep(0.05)
            return 'value'

        def get():
            barrier.wait(5)
            values.append(Cache('pages', **place).get('page', createfunc=make))

        threads = [Thread(target=get) for _number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert values == ['value'] * 4
        assert calls == [1]

    def test_one_value_made_from_another(self, place):
        cache = Cache('pages', **place)
        assert cache.get('sum', createfunc=lambda: cache.get('part', createfunc=lambda: 1) + 1) == 2

    def test_a_process_that_is_killed_while_it_creates_a_value_does_not_block_others(self, place, forked):
        for _kill in range(5):
            cache = Cache('pages', **place)
            cache.clear()
            reader, writer = os.pipe()

            def make(writer=writer):
                os.write(writer, b'.')
                time.sleep(60)

            with forked(lambda cache=cache, make=make: cache.get('page', createfunc=make)) as child:
                os.read(reader, 1)
                assert not cache.namespace.get_creation_lock(b'page').acquire(wait=False)
                child.kill()
                child.exit_status()
            start = time.monotonic()
            assert cache.get('page', createfunc=lambda: 'mine') == 'mine'
            assert time.monotonic() - start < 1
            os.close(reader)
            os.close(writer)


@contextmanager
def held(lock):
    """Let another thread hold a lock."""
    inside, go_on = Event(), Event()

    def hold():
        assert lock.acquire()
        inside.set()
        go_on.wait(10)
        lock.release()

    thread = Thread(target=hold)
    thread.start()
    try:
        assert inside.wait(5)
        yield
    finally:
        go_on.set()
        thread.join()


class TestCreationLocks:
    @pytest.fixture
    def lock(self, space):
        """Return a function that makes the lock of a key anew."""
        return space.get_creation_lock

    def test_a_key_has_one(self, lock):
        with held(lock('a')):
            assert not lock('a').acquire(wait=False)
            assert lock('b').acquire(wait=False)
            assert lock(b'a').acquire(wait=False)
        assert lock('a').acquire(wait=False)
        for key in ('a', 'b', b'a'):
            lock(key).release()

    def test_a_thread_may_have_it_twice(self, lock):
        for _time in range(2):
            assert lock('a').acquire()
        lock('a').release()
        results = []
        for _time in range(2):
            thread = Thread(target=lambda: results.append(lock('a').acquire(wait=False)))
            thread.start()
            thread.join()
            lock('a').release()
        assert results == [False, True]

    def test_many_keys_have_one_file_which_is_empty(self, lock, file):
        for number in range(1000):
            assert lock(f'key {number}').acquire()
        names = {path.name for path in file.parent.iterdir()}
        assert names == {database.FILE_NAME, f'{database.FILE_NAME}.lock', creation_lock.FILE_NAME}
        assert file.with_name(creation_lock.FILE_NAME).stat().st_size == 0
        for number in range(1000):
            lock(f'key {number}').release()

    def test_they_may_be_in_a_directory_of_their_own(self, place, directory):
        space = SqliteNamespaceManager('space', lock_dir=str(directory / 'locks'), **place)
        space.get_creation_lock('a').acquire()
        space.get_creation_lock('a').release()
        assert (directory / 'locks' / creation_lock.FILE_NAME).exists()

    def test_a_fork_while_threads_have_some(self, lock, forked):
        """The child has none of them, and does not release any of its parent's."""
        assert lock('mine').acquire()

        def child():
            assert not lock('mine').acquire(wait=False)
            lock('mine').release()
            assert not lock('mine').acquire(wait=False)
            assert not lock('thread').acquire(wait=False)
            assert lock('free').acquire(wait=False)

        with held(lock('thread')), forked(child) as process:
            assert process.exit_status() == 0
        assert lock('free').acquire(wait=False)
        for key in ('mine', 'free'):
            lock(key).release()

    def test_a_wait_ends_after_a_minute_and_the_value_is_created(self, place, lock, monkeypatch):
        monkeypatch.setattr(creation_lock, 'TIMEOUT', 0.2)
        with held(lock('a')):
            start = time.monotonic()
            assert not lock('a').acquire()
            assert 0.2 <= time.monotonic() - start < 1
            assert Cache('space', **place).get('a', createfunc=lambda: 'mine') == 'mine'
            assert not lock('a').acquire(wait=False)

    def test_a_thread_that_does_not_hold_it_cannot_release_it(self, lock):
        with held(lock('a')):
            lock('a').release()
            assert not lock('a').acquire(wait=False)


class TestSessions:
    def test_through_the_middleware(self, place, file):
        def application(environ, start_response):
            session = environ['beaker.session']
            session['visits'] = session.get('visits', 0) + 1
            session.save()
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [str(session['visits']).encode()]

        settings = {f'session.{name}': value for name, value in place.items()} | {'session.timeout': '300'}
        one, other = (TestApp(SessionMiddleware(application, settings)) for _number in range(2))
        assert [one.get('/').text for _visit in range(3)] == ['1', '2', '3']
        assert other.get('/').text == '1'
        assert [(key, expire) for key, _, expire in rows(file)] == [('session', 420)] * 2

    def test_one_that_has_timed_out_begins_anew_and_leaves_nothing_behind(self, place, file):
        session = Session({}, use_cookies=False, timeout=300, **place)
        session['user'] = 'ann'
        session.save()
        assert Session({}, id=session.id, use_cookies=False, timeout=300, **place)['user'] == 'ann'
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute('UPDATE beaker_cache SET expires = expires - 420, due = due - 420')
        again = Session({}, id=session.id, use_cookies=False, timeout=300, **place)
        assert 'user' not in again
        assert again.is_new
        Session({}, use_cookies=False, timeout=300, **place).save()
        assert len(rows(file)) == 1

    def test_one_that_is_deleted(self, place):
        session = Session({}, use_cookies=False, **place)
        session['user'] = 'ann'
        session.save()
        session.delete()
        session.save()
        assert 'user' not in Session({}, id=session.id, use_cookies=False, **place)

    def test_processes_share_one(self, place, forked):
        session = Session({}, use_cookies=False, **place)
        session['user'] = 'ann'
        session.save()

        def child():
            mine = Session({}, id=session.id, use_cookies=False, **place)
            mine['user'] += ' and bob'
            mine.save()

        with forked(child) as process:
            assert process.exit_status() == 0
        assert Session({}, id=session.id, use_cookies=False, **place)['user'] == 'ann and bob'
