"""What happens at fork, SIGTERM and exit, in real processes."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from pyramid_progress.system import process

PRELUDE = """
import os, signal, sys, threading, time
import pyramid_progress
from pyramid_progress.system import process
REGIONS = {'cache.regions': 'default, persistent', 'cache.type': 'sqlite', 'cache.data_dir': sys.argv[1]}
pyramid_progress.configure(REGIONS)
"""


def run(tmp_path, code, **options):
    program = PRELUDE + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, '-c', program, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def status_of(tmp_path, progress_id='job'):
    done = run(tmp_path, f'print(pyramid_progress.get_progress_status({progress_id!r}))')
    out, err = done.communicate(timeout=20)
    assert done.returncode == 0, err
    return eval(out)  # noqa: S307  (a dict that this test printed)


def terminated(program, ready='ready'):
    """Send SIGTERM to a program that has printed *ready*; return how many seconds it took to end."""
    assert program.stdout.readline().strip() == ready
    began = time.monotonic()
    program.send_signal(signal.SIGTERM)
    program.wait(20)
    took = time.monotonic() - began
    for stream in (program.stdin, program.stdout, program.stderr):
        stream.close()
    return took


WAITING = """
process.handle_sigterm({mode})
task = pyramid_progress.start_task('Work', progress_id='job')
print('ready', flush=True)
sys.stdin.read()
"""


def test_sigterm_interrupts_the_tasks_and_ends_the_process(tmp_path):
    program = run(tmp_path, WAITING.format(mode=None))
    assert terminated(program) < 1
    assert program.returncode == -signal.SIGTERM
    status = status_of(tmp_path)
    assert (status['status'], status['message']) == ('failed', 'This task was interrupted.')


def test_sigterm_does_not_wait_for_a_store_call_of_the_thread_that_it_interrupts(tmp_path):
    """The main thread is in the middle of a call, and holds the lock of the store."""
    program = run(
        tmp_path,
        """
        process.handle_sigterm(None)
        task = pyramid_progress.start_task('Work', progress_id='job')
        storage = pyramid_progress.runtime.current_store().storage
        deadline = time.monotonic() + 10
        print('ready', flush=True)
        while time.monotonic() < deadline:
            storage.update('other', {'current': '1', 'status': '"running"'}, 60)
        """,
    )
    assert terminated(program) < 1
    assert program.returncode == -signal.SIGTERM
    assert status_of(tmp_path)['status'] == 'failed'


def test_sigterm_is_left_alone_if_the_setting_says_so(tmp_path):
    program = run(tmp_path, WAITING.format(mode=False))
    assert terminated(program) < 1
    assert program.returncode == -signal.SIGTERM
    assert status_of(tmp_path)['status'] == 'running'


@pytest.mark.parametrize('mode', [None, True])
def test_a_handler_that_is_there_is_kept_unless_the_setting_demands_ours_as_well(tmp_path, mode):
    program = run(
        tmp_path,
        f"""
        def stop(number, frame):
            print('stopped by the handler of the application', flush=True)
            os._exit(7)
        signal.signal(signal.SIGTERM, stop)
        process.handle_sigterm({mode})
        task = pyramid_progress.start_task('Work', progress_id='job')
        print('ready', flush=True)
        while True:
            time.sleep(0.05)
        """,
    )
    assert terminated(program) < 2
    assert program.returncode == 7
    assert status_of(tmp_path)['status'] == ('failed' if mode else 'running')


@pytest.mark.parametrize('server', ['uwsgi', 'mod_wsgi'])
def test_servers_that_handle_signals_themselves_are_left_alone(tmp_path, server):
    program = run(
        tmp_path,
        f"""
        sys.modules[{server!r}] = sys
        process.handle_sigterm(None)
        print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
        process.handle_sigterm(True)
        print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
        """,
    )
    out, _ = program.communicate(timeout=20)
    assert out.split() == ['True', 'False']


def test_a_thread_that_may_not_handle_signals_says_so(tmp_path):
    program = run(
        tmp_path,
        """
        import logging
        logging.basicConfig()
        thread = threading.Thread(target=process.handle_sigterm, args=(True,))
        thread.start()
        thread.join()
        """,
    )
    _, err = program.communicate(timeout=20)
    assert 'only the main thread can install one' in err


def test_at_exit_tasks_are_interrupted(tmp_path):
    program = run(tmp_path, "task = pyramid_progress.start_task('Work', progress_id='job')")
    program.communicate(timeout=20)
    assert status_of(tmp_path)['message'] == 'This task was interrupted.'


class Recorder(process.Participant):
    def __init__(self, calls):
        self.calls = calls
        process.register(self)

    def before_fork(self):
        self.calls.append('before')

    def after_fork_in_parent(self):
        self.calls.append('parent')

    def after_fork_in_child(self):
        self.calls.append('child')


def test_a_fork_calls_the_participants_in_both_processes():
    calls = []
    recorder = Recorder(calls)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, ','.join(calls).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b'before,child'
    assert calls == ['before', 'parent']
    os.close(read)
    os.close(write)
    del recorder


def test_a_participant_that_is_dropped_takes_no_part_any_more():
    calls = []
    recorder = Recorder(calls)
    del recorder
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    assert calls == []
