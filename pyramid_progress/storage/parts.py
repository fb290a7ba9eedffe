"""The base class of drivers that change the parts of tasks by the rules in Python."""

from abc import abstractmethod
from collections.abc import Callable

from ..model import parts
from ..model.parts import PartChange
from ..model.record import Activity, Record
from .interface import Storage

#: Returns what becomes of the records of a task and of one of its parts; None stands for a record that is missing.
PartRule = Callable[[Record | None, Record | None], PartChange]


class PartStorage(Storage):
    """A storage whose driver reads the records of a task and of a part, applies a rule, and stores the result."""

    def start_part(
        self, progress_id: str, number: int, *, task_run: str, part_run: str, heartbeat: str, expire: float
    ) -> Activity | None:
        def rule(task: Record | None, part: Record | None) -> PartChange:
            return parts.start_part(
                task, part, task_run=task_run, number=number, part_run=part_run, heartbeat=heartbeat
            )

        return self._change_part(progress_id, number, rule, expire)

    def update_part(
        self, progress_id: str, number: int, changes: Record, *, task_run: str, part_run: str, expire: float
    ) -> Activity | None:
        def rule(task: Record | None, part: Record | None) -> PartChange:
            return parts.update_part(task, part, changes, task_run=task_run, number=number, part_run=part_run)

        return self._change_part(progress_id, number, rule, expire)

    @abstractmethod
    def _change_part(self, progress_id: str, number: int, rule: PartRule, expire: float) -> Activity | None:
        """Replace the records of a task and of one of its parts by those that a rule returns, in one atomic step.

        If the rule returns None for a record, neither changes. Otherwise, both are kept for another *expire* seconds.

        :param number: the number of the part
        :param rule: gets both records, None for one that is missing
        :return: the activity that the rule returns
        """
