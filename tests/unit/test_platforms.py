"""The package on platforms without POSIX, and under gevent."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

#: Hides what Windows does not have.
HIDE_POSIX = """
    import os, sys
    import pyramid.path  # on this platform, a package that it imports needs os.getuid
    for name in ('fcntl', 'grp', 'pwd', 'resource', 'termios', 'tty'):
        sys.modules[name] = None
    for name in ('fork', 'forkpty', 'register_at_fork', 'getuid', 'geteuid', 'getgid', 'killpg', 'O_NOFOLLOW'):
        delattr(os, name)
"""

CONFIGURE = """
    import sys
    import pyramid_progress as progress

    def configure(region_type, directory, **settings):
        settings = {f'progress.{name}': str(value) for name, value in settings.items()}
        regions = {'cache.regions': 'default, persistent', 'cache.type': region_type, 'cache.data_dir': directory}
        progress.configure(regions | settings)
"""

USE = """
    configure(*sys.argv[1:])
    with progress.start_task('Import', length=3) as task:
        assert list(task.track('abc')) == ['a', 'b', 'c']
    status = progress.get_progress_status(task.id)
    assert (status['status'], status['current']) == ('finished', 3), status
    assert progress.get_running_tasks() == set()
"""


def start(*parts, arguments=()):
    """Start a Python program made of parts, in a process of its own."""
    program = '\n'.join(textwrap.dedent(part) for part in parts)
    return subprocess.Popen(
        [sys.executable, '-c', program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def run(*parts, arguments=()):
    """Run such a program to its end; return what it prints."""
    with start(*parts, arguments=arguments) as process:
        try:
            output, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    return output


class TestWithoutPosix:
    def test_every_module_can_be_imported(self):
        """Celery is exempt: on Linux it needs ``fcntl`` itself."""
        run(
            HIDE_POSIX,
            """
            import importlib, pkgutil, traceback
            import pyramid_progress

            root = os.path.dirname(pyramid_progress.__file__)
            names = [module.name for module in pkgutil.walk_packages(pyramid_progress.__path__, 'pyramid_progress.')]
            assert len(names) > 30, names
            for name in names:
                try:
                    importlib.import_module(name)
                except ImportError as error:
                    *_, last = [
                        frame.filename for frame in traceback.extract_tb(error.__traceback__)
                        if not frame.filename.startswith('<frozen')
                    ]
                    assert not last.startswith(root), (name, error)
            """,
        )

    @pytest.mark.parametrize('region_type', ['memory', 'sqlite', 'file'])
    def test_a_task_runs(self, region_type, tmp_path):
        run(HIDE_POSIX, CONFIGURE, USE, arguments=[region_type, tmp_path])

    def test_processes_that_create_the_database_at_the_same_time_share_it(self, tmp_path):
        program = """
            sys.stdin.readline()
            configure('sqlite', sys.argv[1], timeout=5)
            progress.init_progress_status(sys.argv[2], None, 'Import')
        """
        processes = [start(HIDE_POSIX, CONFIGURE, program, arguments=[tmp_path, number]) for number in range(4)]
        for process in processes:
            process.stdin.write('\n')
            process.stdin.flush()
        for process in processes:
            _, errors = process.communicate(timeout=30)
            assert process.returncode == 0, errors
        listed = run(
            CONFIGURE,
            "configure('sqlite', sys.argv[1])\nprint(sorted(progress.get_running_tasks()))",
            arguments=[tmp_path],
        )
        assert listed == "['0', '1', '2', '3']\n"

    @pytest.mark.parametrize('hide', [HIDE_POSIX, ''], ids=['without fcntl', 'with fcntl'])
    def test_a_file_lock_is_released_when_its_holder_dies(self, hide, tmp_path):
        path = tmp_path / 'lock'
        hold = """
            import time
            from pathlib import Path
            from pyramid_progress.system.file_lock import FileLock
            import sys
            lock = FileLock(Path(sys.argv[1]))
            start = time.monotonic()
            print(lock.acquire(start + float(sys.argv[2])), flush=True)
            print(time.monotonic() - start, flush=True)
            sys.stdin.readline()
            lock.close()
        """
        with start(hide, hold, arguments=[path, 0]) as holder:
            assert holder.stdout.readline() == 'True\n'
            with start(hide, hold, arguments=[path, 0.3]) as other:
                assert other.stdout.readline() == 'False\n'
                assert 0.3 <= float(other.stdout.readline()) < 1
                other.communicate('\n', timeout=10)
            assert other.returncode == 0
            with start(hide, hold, arguments=[path, 20]) as waiting:
                holder.send_signal(signal.SIGSTOP)
                time.sleep(0.5)
                holder.kill()
                assert waiting.stdout.readline() == 'True\n'
                waiting.communicate('\n', timeout=10)
        assert path.stat().st_size == 0


class TestGevent:
    @pytest.mark.parametrize('region_type', ['sqlite', 'file'])
    def test_a_task_runs_in_a_greenlet(self, region_type, tmp_path):
        """gevent defers :func:`os.close`, so a lock that is released by closing only would be held for ever."""
        pytest.importorskip('gevent')
        greenlet = f'def use():{textwrap.indent(textwrap.dedent(USE), "    ")}\ngevent.spawn(use).get()'
        patch = 'import gevent.monkey\ngevent.monkey.patch_all()\nimport gevent'
        run(patch, CONFIGURE, greenlet, arguments=[region_type, tmp_path])

    @pytest.mark.parametrize('region_type', ['sqlite', pytest.param('file', marks=pytest.mark.slow)])
    def test_gunicorn_s_gevent_workers_answer(self, region_type, tmp_path, free_port):
        pytest.importorskip('gevent')
        pytest.importorskip('gunicorn')
        (tmp_path / 'application.py').write_text(
            textwrap.dedent("""
            from pyramid.config import Configurator

            def work(request):
                with request.progress.start('Import', length=3) as task:
                    for _step in task.track(range(3)):
                        pass
                return task.id

            with Configurator(settings={
                'cache.regions': 'default, persistent', 'cache.type': %r, 'cache.data_dir': %r,
            }) as config:
                config.include('pyramid_progress')
                config.add_route('work', '/work')
                config.add_view(work, route_name='work', renderer='string')
            application = config.make_wsgi_app()
            """)
            % (region_type, str(tmp_path / 'data'))
        )
        port = free_port()
        command = [sys.executable, '-m', 'gunicorn', '--worker-class', 'gevent', '--workers', '2']
        command += ['--graceful-timeout', '1', '--no-control-socket']
        server = subprocess.Popen(
            [*command, '--bind', f'127.0.0.1:{port}', '--chdir', str(tmp_path), 'application:application'],
            env=os.environ | {'PYTHONPATH': str(Path(__file__).parents[2])},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _read(f'http://127.0.0.1:{port}/work', 60)
            for _request in range(10):
                progress_id = _read(f'http://127.0.0.1:{port}/work', 10)
                answer = _read(f'http://127.0.0.1:{port}/progress_status?progress_id={progress_id}', 10)
                assert json.loads(answer)['status'] == 'finished'
        finally:
            server.terminate()
            server.wait(30)


def _read(url, timeout):
    """Return the body at a URL; wait until the server listens."""
    from urllib.error import URLError
    from urllib.request import urlopen

    deadline = time.monotonic() + timeout
    while True:
        try:
            with urlopen(url, timeout=max(0.1, deadline - time.monotonic())) as response:  # noqa: S310
                return response.read().decode()
        except (URLError, ConnectionError):
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)
