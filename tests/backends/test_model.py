"""The functions against a model of them, a plain dict, through whatever sequence of calls Hypothesis thinks of."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from pyramid.registry import Registry
from pyramid.testing import DummyRequest

from pyramid_progress import get_progress_status, get_running_tasks, init_progress_status, set_progress_status
from pyramid_progress.model.record import Activity
from pyramid_progress.runtime import current_store
from pyramid_progress.web.access import Visitor

UNKNOWN = {'status': 'unknown'}

ids = st.sampled_from(['a', 'b', 'é', '../c'])
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


class Model(RuleBasedStateMachine):
    """Every call is made of the functions and of the dict; what they return must agree."""

    def __init__(self):
        super().__init__()
        self.region.empty()
        self.tasks = {}
        self.acknowledged = set()

    @rule(progress_id=ids, owner=owners, label=values, tags=values, length=numbers, current=numbers)
    def init(self, progress_id, owner, **rest):
        old = self.tasks.get(progress_id)
        if old and 'owner' in old and old['owner'] != owner:
            with pytest.raises(ValueError, match='another owner'):
                init_progress_status(progress_id, owner, **rest)
            return
        init_progress_status(progress_id, owner, **rest)
        self.tasks[progress_id] = {'status': 'running', 'owner': owner} | rest
        self.acknowledged.discard(progress_id)

    @rule(progress_id=ids, status=statuses, changes=some_changes)
    def set(self, progress_id, status, changes):
        set_progress_status(progress_id, status, **changes)
        if progress_id not in self.acknowledged:
            bare = {'message': None, 'length': None, 'current': None}
            old = self.tasks.get(progress_id, bare)
            self.tasks[progress_id] = {'message': None} | old | {'status': status} | changes

    @rule(progress_id=ids)
    def get(self, progress_id):
        status = get_progress_status(progress_id)
        status.pop('started', None)
        expected = UNKNOWN if progress_id in self.acknowledged else self.tasks.get(progress_id, UNKNOWN)
        assert status == expected
        if status['status'] == 'finished':
            self.acknowledged.add(progress_id)

    @rule(progress_ids=st.lists(ids, min_size=1, max_size=4), acknowledge=st.booleans())
    def look(self, progress_ids, acknowledge):
        visitor = Visitor(DummyRequest(registry=Registry()))
        seen = visitor.visible_statuses(progress_ids, acknowledge=acknowledge)
        assert list(seen) == list(dict.fromkeys(progress_ids))
        for progress_id, status in seen.items():
            status.pop('started', None)
            expected = dict(self.tasks.get(progress_id, UNKNOWN))
            expected.pop('owner', None)
            assert status == expected
            if acknowledge and status['status'] == 'finished':
                self.acknowledged.add(progress_id)

    @rule(some_ids=st.lists(ids, max_size=3, unique=True), text=text)
    def update_active(self, some_ids, text):
        """What the publisher of a task object does with many tasks at once."""
        storage, expire, _ = current_store()
        changes = {progress_id: {'current': str(len(text))} for progress_id in some_ids}
        activities = storage.update_active(changes, expire)
        assert set(activities) == set(some_ids) & set(self.tasks)
        for progress_id, activity in activities.items():
            has_ended = self.tasks[progress_id]['status'] in ('finished', 'failed', 'cancelled')
            assert activity is (Activity.ENDED if has_ended else Activity.ACTIVE)
            if not has_ended:
                self.tasks[progress_id]['current'] = len(text)

    @rule(progress_id=ids)
    def delete(self, progress_id):
        current_store().storage.delete(progress_id)
        self.tasks.pop(progress_id, None)
        self.acknowledged.discard(progress_id)

    @invariant()
    def list_is_true(self):
        left = self.tasks.keys() - self.acknowledged
        assert get_running_tasks() == {
            progress_id
            for progress_id in left
            if 'owner' in self.tasks[progress_id] and self.tasks[progress_id]['status'] not in ('failed', 'cancelled')
        }


def test_the_functions_do_what_the_model_does(region):
    run_state_machine_as_test(
        type('Model', (Model,), {'region': region}),
        settings=settings(
            max_examples=max(3, min(region.kind.many // 200, 20)),
            stateful_step_count=20,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
