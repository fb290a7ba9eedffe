"""The storage against a model of it, plain dicts, through sequences of calls that Hypothesis generates."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from pyramid.registry import Registry
from pyramid.testing import DummyRequest

from pyramid_progress import (
    cancel_task,
    forget_task,
    get_progress_status,
    get_running_tasks,
    init_progress_status,
    list_tasks,
    set_progress_status,
)
from pyramid_progress.model.record import Activity, Start
from pyramid_progress.runtime import current_store
from pyramid_progress.testing.records import run_number, task_record
from pyramid_progress.web.access import Visitor

UNKNOWN = {'status': 'unknown'}
BARE = {'message': None, 'length': None, 'current': None}
TERMINAL = ('finished', 'failed', 'cancelled')
PARTS = 3

ids = st.sampled_from(['a', 'é', '../c'])
owners = st.sampled_from(['ann', 'bob', None])
numbers = st.none() | st.integers(-3, 2**70) | st.floats(allow_nan=False, allow_infinity=False)
text = st.text(st.characters(exclude_categories=['Cs']), max_size=20)
values = st.recursive(
    numbers | st.booleans() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
statuses = st.sampled_from(['pending', 'running', 'finished', 'failed', 'cancelled', 'odd'])
some_changes = st.fixed_dictionaries({}, optional={'message': values, 'length': numbers, 'current': numbers})
# Those of the functions are later than these.
runs = st.integers(1, 4).map(run_number)
any_run = st.none() | st.just('present') | runs
amounts = st.integers(0, 50)
part_numbers = st.integers(0, PARTS - 1)


class Task:
    """A task: the dict that readers get, and what is known of it beside that."""

    def __init__(self, status, run=None):
        self.status = status
        self.run = run
        self.acknowledged = False
        self.cancel = False
        #: Run, status and position of each part that was started; None for a task without parts.
        self.parts = None
        self.failure = None
        #: The run of the part whose end has ended the task.
        self.last = None

    @property
    def is_bare(self):
        return self.run is None

    @property
    def seen(self):
        """The status that readers see."""
        if self.parts is None:
            return self.status
        ended = sum(part[1] != 'running' for part in self.parts.values())
        return self.status | {'parts': {'ended': ended, 'total': PARTS}}

    @property
    def has_ended(self):
        return self.status['status'] in TERMINAL

    def activity(self, run):
        if run is not None and self.run != run and (self.is_bare or self.run < run):
            return None
        flags = {Activity.SUPERSEDED: run not in (None, self.run), Activity.ENDED: self.has_ended}
        flags[Activity.CANCELLING] = self.cancel
        return Activity(sum(flag for flag, is_set in flags.items() if is_set))

    def add(self, difference):
        total = float(self.status['current'] or 0) + difference
        self.status['current'] = int(total) if total.is_integer() and abs(total) < 2**53 else total

    def count(self, status):
        return sum(part[1] == status for part in self.parts.values())


def started(run):
    """Return when a run started, in milliseconds."""
    return int(run[1:].partition('-')[0])


class Model(RuleBasedStateMachine):
    """Every call is made of the storage and of the dicts; what they return must agree."""

    def __init__(self):
        super().__init__()
        self.region.empty()
        self.tasks = {}

    @property
    def storage(self):
        return current_store().storage

    @rule(progress_id=ids, owner=owners, label=values, tags=values, length=numbers, current=numbers)
    def init(self, progress_id, owner, **rest):
        old = self.tasks.get(progress_id)
        if old and not old.is_bare and not old.has_ended and old.status['owner'] != owner:
            with pytest.raises(ValueError, match='another owner'):
                init_progress_status(progress_id, owner, **rest)
            return
        init_progress_status(progress_id, owner, **rest)
        run = self.storage.get_many([progress_id])[progress_id]['_run']
        assert run > run_number(1000)
        self.tasks[progress_id] = Task({'status': 'running', 'owner': owner} | rest, run)

    @rule(progress_id=ids, run=runs, mode=st.sampled_from(Start), owner=st.sampled_from(['ann', 'bob']))
    def start(self, progress_id, run, mode, owner):
        """What a task object does that has parts and can be cancelled."""
        old = self.tasks.get(progress_id)
        if old is None:
            may_start = True
        elif mode is Start.NEW:
            may_start = old.run == run
        else:
            may_start = (
                old.is_bare
                or (mode is Start.RESTORE and old.run < run)
                or (mode is Start.ANY and (old.has_ended or old.status['owner'] == owner))
            )
        members = {'_parts': str(PARTS), '_cancellable': 'true', '_changed': str(int(self.storage.now()))}
        record = task_record(run, f'"{owner}"', **members)
        assert self.storage.start(progress_id, record, 60, mode) is may_start
        if may_start:
            status = {'status': 'running', 'owner': owner, 'label': 'Import', 'tags': None}
            task = self.tasks[progress_id] = Task(status | {'length': None, 'current': None}, run)
            task.parts = {}

    @rule(progress_id=ids, status=statuses, changes=some_changes)
    def set(self, progress_id, status, changes):
        set_progress_status(progress_id, status, **changes)
        task = self.tasks.get(progress_id)
        if task is None or (task.acknowledged and task.is_bare):
            self.tasks[progress_id] = Task(BARE | {'status': status} | changes)
        elif not task.acknowledged:
            task.status = {'message': None} | task.status | {'status': status} | changes

    @rule(progress_id=ids, acknowledge=st.booleans())
    def get(self, progress_id, acknowledge):
        status = get_progress_status(progress_id, acknowledge=acknowledge)
        task = self.tasks.get(progress_id)
        expected = UNKNOWN if task is None or task.acknowledged else task.seen
        assert status_of(status) == expected
        if acknowledge and status['status'] == 'finished':
            task.acknowledged = True

    @rule(progress_ids=st.lists(ids, min_size=1, max_size=4), acknowledge=st.booleans())
    def look(self, progress_ids, acknowledge):
        request = DummyRequest()
        request.registry = Registry()
        request.registry.settings = {'pyramid.default_locale_name': 'en'}
        visitor = Visitor(request)
        seen = visitor.visible_statuses(progress_ids, acknowledge=acknowledge)
        assert list(seen) == list(dict.fromkeys(progress_ids))
        for progress_id, status in seen.items():
            task = self.tasks.get(progress_id)
            expected = dict(UNKNOWN if task is None else task.seen)
            expected.pop('owner', None)
            status.pop('cancellable', None)
            message = expected.get('message')
            if 'parts' in status and not task.has_ended and isinstance(message, (str, type(None))):
                # Visitors read the count of parts in the message.
                count = f'{status["parts"]["ended"]} of {PARTS}'
                assert status.pop('message').startswith(count)
                expected.pop('message', None)
            assert status_of(status) == expected
            if acknowledge and status['status'] == 'finished':
                task.acknowledged = True

    @rule(some=st.dictionaries(ids, any_run, max_size=3), text=text, status=st.none() | statuses)
    def update_active(self, some, text, status):
        """What the publisher of task objects does with many tasks at once."""
        some = {
            progress_id: self.tasks[progress_id].run if run == 'present' and progress_id in self.tasks else run
            for progress_id, run in some.items()
        }
        some_runs = {progress_id: run for progress_id, run in some.items() if run not in (None, 'present')}
        new = {'current': len(text)} | ({'status': status} if status else {})
        changes = {name: f'"{value}"' if name == 'status' else str(value) for name, value in new.items()}
        activities = self.storage.update_active(dict.fromkeys(some, changes), 60, some_runs)
        expected = {}
        for progress_id in some:
            task = self.tasks.get(progress_id)
            if task:
                run = some_runs.get(progress_id)
                if not task.has_ended and run in (None, task.run):
                    task.status = task.status | new
                expected[progress_id] = task.activity(run)
        assert activities == {
            progress_id: activity for progress_id, activity in expected.items() if activity is not None
        }

    @rule(progress_id=ids)
    def cancel(self, progress_id):
        task = self.tasks.get(progress_id)
        can_be_cancelled = task is not None and task.parts is not None and not task.has_ended
        assert cancel_task(progress_id) is can_be_cancelled
        if can_be_cancelled:
            task.cancel = True

    @rule(progress_id=ids)
    def forget(self, progress_id):
        assert forget_task(progress_id) is (self.tasks.pop(progress_id, None) is not None)

    @rule(progress_id=ids, task_run=any_run, number=part_numbers, part_run=runs)
    def start_part(self, progress_id, task_run, number, part_run):
        task, task_run = self.tasks.get(progress_id), self.run_of(progress_id, task_run)
        activity = self.storage.start_part(
            progress_id, number, task_run=task_run, part_run=part_run, heartbeat='1.0', expire=60
        )
        if task is None or task.parts is None:
            assert activity is None
            return
        assert activity == self.part_activity(task, task_run)
        if activity in (Activity(0), Activity.CANCELLING):
            part = task.parts.get(number)
            task.parts[number] = (part_run, 'running', 0)
            if part:
                task.add(-part[2])
            if not task.count('failed'):
                task.failure = None

    @rule(
        progress_id=ids,
        task_run=any_run,
        number=part_numbers,
        part_run=any_run,
        amount=st.none() | amounts,
        end=st.none() | st.sampled_from(TERMINAL),
        message=st.none() | st.sampled_from(['one', 'two']),
    )
    def update_part(self, progress_id, task_run, number, part_run, amount, end, message):
        task, task_run = self.tasks.get(progress_id), self.run_of(progress_id, task_run)
        part = task.parts.get(number) if task and task.parts else None
        if part_run in (None, 'present'):
            part_run = part[0] if part else run_number(1)
        new = {'status': end and f'"{end}"', 'message': message and f'"{message}"'}
        changes = {name: value for name, value in new.items() if value}
        if amount is not None:
            changes['current'] = str(amount)
        activity = self.storage.update_part(
            progress_id, number, changes, task_run=task_run, part_run=part_run, expire=60
        )
        if part is None:
            assert activity is None
            return
        expected = self.part_activity(task, task_run)
        if part[0] != part_run:
            expected |= Activity.SUPERSEDED
        if part[1] != 'running':
            expected |= Activity.ENDED
        if not expected & (Activity.ENDED | Activity.SUPERSEDED):
            self.change_part(task, number, amount, end, message)
            if task.has_ended:
                task.last = part_run
                expected |= Activity.LAST
        elif end and not expected & Activity.SUPERSEDED and task.last == part_run:
            expected |= Activity.LAST  # the end is repeated
        assert activity == expected

    @staticmethod
    def change_part(task, number, amount, end, message):
        run, status, done = task.parts[number]
        if amount is not None:
            task.add(amount - done)
            done = amount
        task.parts[number] = (run, end or status, done)
        if end == 'failed' and task.failure is None:
            task.failure = (message,)
        if not end:
            if message:
                task.status = task.status | {'message': message}
        elif len(task.parts) == PARTS and not task.count('running'):
            if task.count('failed'):
                end, message = 'failed', task.failure[0]
            else:
                end = 'cancelled' if task.count('cancelled') else 'finished'
            task.status = task.status | {'status': end, 'message': message}

    @invariant()
    def the_running_list_is_true(self):
        assert get_running_tasks() == {progress_id for progress_id, task in self.tasks.items() if self.is_listed(task)}

    @rule()
    def lists(self):
        every = [(started(task.run), progress_id) for progress_id, task in self.tasks.items() if task.run]
        every = [progress_id for _, progress_id in sorted(every, reverse=True)]
        assert [(task.pop('progress_id'), status_of(task)) for task in list_tasks()] == [
            (progress_id, self.tasks[progress_id].seen) for progress_id in every
        ]
        for owner in ('ann', None):
            assert [task['progress_id'] for task in list_tasks(owner=owner)] == [
                progress_id for progress_id in every if self.tasks[progress_id].status['owner'] == owner
            ]
        for status in ('running', *TERMINAL):
            assert [task['progress_id'] for task in list_tasks(status=status)] == [
                progress_id for progress_id in every if self.tasks[progress_id].status['status'] == status
            ]
        running = [progress_id for progress_id in every if self.is_listed(self.tasks[progress_id])]
        assert [entry.progress_id for entry in self.storage.list_entries(['running'], 9)] == running

    @staticmethod
    def is_listed(task):
        return not (task.is_bare or task.acknowledged or task.status['status'] in ('failed', 'cancelled'))

    def run_of(self, progress_id, run):
        """Return the run of a task that a part belongs to."""
        if run in (None, 'present'):
            task = self.tasks.get(progress_id)
            return task.run if task and task.run else run_number(1)
        return run

    @staticmethod
    def part_activity(task, run):
        flags = {
            Activity.SUPERSEDED: task.run != run,
            Activity.ENDED: task.has_ended,
            Activity.CANCELLING: task.cancel,
        }
        return Activity(sum(flag for flag, is_set in flags.items() if is_set))


def status_of(status):
    """Return a status without the time of its start."""
    return {name: value for name, value in status.items() if name != 'started'}


@pytest.mark.parametrize('examples', [6, pytest.param(30, marks=pytest.mark.slow)])
def test_the_storage_does_what_the_model_does(region, examples):
    run_state_machine_as_test(
        type('Model', (Model,), {'region': region}),
        settings=settings(
            max_examples=min(region.kind.many // 50, examples),
            stateful_step_count=40,
            deadline=None,
            # To shrink an example would take minutes where a call takes a millisecond.
            phases=tuple(Phase) if region.type == 'memory' else (Phase.generate,),
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
