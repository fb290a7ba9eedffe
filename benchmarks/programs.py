"""The functions, ours and those of pyams_utils, which have the same names and arguments, as contenders."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from beaker.cache import clsmap

import pyramid_progress
from pyramid_progress import progress
from pyramid_progress.runtime import current_store

from . import missing
from .measure import Contender

#: The task that is changed and read.
TASK = 'a6cf2b0c5a8e4a0f9d8c7b6e5f4a3b2c'

#: What each function is called in the table.
OPERATIONS = ('set', 'get', 'init')


class Program(ABC):
    """Functions that keep the statuses of tasks.

    :param functions: the module with them
    :param tasks: how many tasks there are
    """

    def __init__(self, functions: Any, tasks: int = 1) -> None:
        self._functions = functions
        self._new = 0
        self.start([TASK, *(f'{TASK}-{number}' for number in range(1, tasks))])
        self._check(tasks)

    def contender(self, operation: str) -> Contender:
        """Return the contender of that name: one of :data:`OPERATIONS`."""
        return {
            'set': Contender(self.set),
            'get': Contender(self.get),
            'init': Contender(self.init, after=self._forget),
        }[operation]

    def set(self, count: int, progress_id: str = TASK) -> None:
        """Change a task a number of times."""
        set_progress_status = self._functions.set_progress_status
        for number in range(count):
            set_progress_status(progress_id, message='Importing row', length=1_000_000, current=number)

    def get(self, count: int) -> None:
        """Read the task a number of times."""
        get_progress_status = self._functions.get_progress_status
        for _ in range(count):
            get_progress_status(TASK)

    def init(self, count: int) -> None:
        """Start as many tasks, of new ids."""
        self.start(f'{TASK}-new-{number}' for number in range(self._new, self._new + count))
        self._new += count

    def start(self, progress_ids: Iterable[str]) -> None:
        """Start those tasks."""
        init_progress_status = self._functions.init_progress_status
        for progress_id in progress_ids:
            init_progress_status(progress_id, 'editor', 'Importing customers', ['import'], 1_000_000, 0)

    @abstractmethod
    def delete(self, progress_ids: list[str]) -> None:
        """Forget those tasks."""

    def _forget(self) -> None:
        self.delete([f'{TASK}-new-{number}' for number in range(self._new)])
        self._new = 0

    def _check(self, tasks: int) -> None:
        """Make sure that what is measured also works."""
        self.set(3)
        status = self._functions.get_progress_status(TASK)
        seen = (status['label'], status['message'], status['current'], len(self._functions.get_running_tasks()))
        if seen != ('Importing customers', 'Importing row', 2, tasks):
            raise RuntimeError(f'{self._functions.__name__} returns other values than it was given: {seen}')


class Ours(Program):
    """pyramid_progress.

    :param settings: those of an application
    :param tasks: how many tasks there are
    """

    def __init__(self, settings: dict[str, str], tasks: int = 1) -> None:
        self._settings = settings
        self.use()
        super().__init__(progress, tasks)

    def use(self) -> None:
        """Work on these regions from now on."""
        pyramid_progress.configure(self._settings)

    def stored(self) -> str:
        """Return the task as it is stored."""
        return current_store().storage.get_many_serialized((TASK,))[TASK]

    def delete(self, progress_ids: list[str]) -> None:
        storage = current_store().storage
        for progress_id in progress_ids:
            storage.delete(progress_id)


class Pyams(Program):
    """pyams_utils, on the regions that are set up at the moment.

    :param kind: the regions' type
    :param tasks: how many tasks there are
    :raises missing.Missing: if it is not installed
    """

    def __init__(self, kind: str, tasks: int = 1) -> None:
        self._pyams = missing.module('pyams_utils.progress', 'pyams_utils')
        # It keeps the caches of the regions that were there when it was first used.
        for local in (self._pyams._LOCAL, missing.module('pyams_utils.lock', 'pyams_utils')._LOCAL):
            vars(local).clear()
        for cache in (self._pyams.get_tasks_cache(), self._pyams.get_progress_cache()):
            if type(cache.namespace) is not clsmap[kind]:
                raise RuntimeError(f'pyams_utils works on {cache.namespace}, not on the type {kind}')
        super().__init__(self._pyams, tasks)
        self._tasks = set(self._pyams.get_running_tasks())

    def delete(self, progress_ids: list[str]) -> None:
        statuses = self._pyams.get_progress_cache()
        for progress_id in progress_ids:
            statuses.remove_value(self._pyams.PROGRESS_TASK_KEY.format(progress_id))
        self._pyams.set_running_tasks(set(self._tasks))
