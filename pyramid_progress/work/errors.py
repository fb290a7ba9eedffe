"""The exceptions that end a task in a particular way, and which end of a task an exception means."""

import logging
from collections.abc import Iterator
from typing import NamedTuple

log = logging.getLogger(__name__)


class ProgressError(Exception):
    """An error whose text is for visitors: the bar of a task that it ends shows it.

    The text may be a Pyramid TranslationString, which is interpolated.
    """


class TaskCancelled(Exception):
    """The task was asked to stop. This is raised at the next step of the work, and at every later one."""


class IdInUseError(ValueError):
    """A task cannot be started, because its id is that of another one."""


class End(NamedTuple):
    """How an exception ends a task: the arguments of :meth:`.TaskRun.end`."""

    status: str
    message: str | None = None
    #: Instead of a message, a key of :data:`.messages.MESSAGES`.
    code: str | None = None


def end_of(error: BaseException) -> End:
    """Return how an exception that leaves the work ends its task.

    For a group of exceptions (:class:`ExceptionGroup`), the exceptions in it and in the groups inside it decide: the
    task is cancelled if all are :class:`TaskCancelled`; if all are :class:`TaskCancelled` or :class:`ProgressError`,
    it has failed with the text of the first :class:`ProgressError`; otherwise it has failed unexpectedly.

    :return: 'cancelled' for :class:`TaskCancelled`; 'failed' for any other exception: with the text of a
        :class:`ProgressError`, the code 'unexpected' for another :class:`Exception`, or the code 'interrupted' for
        what is no :class:`Exception`, such as :class:`SystemExit`
    """
    if not isinstance(error, Exception):
        return End('failed', code='interrupted')
    if is_cancel(error):
        return End('cancelled')
    if is_expected(error):
        text = _text_of(next(leaf for leaf in _leaves(error) if isinstance(leaf, ProgressError)))
        if text is not None:
            return End('failed', text)
    return End('failed', code='unexpected')


def is_cancel(error: BaseException) -> bool:
    """Return whether an exception is :class:`TaskCancelled`, or a group that contains nothing else."""
    return all(isinstance(leaf, TaskCancelled) for leaf in _leaves(error))


def is_expected(error: BaseException) -> bool:
    """Return whether an exception is :class:`TaskCancelled` or :class:`ProgressError`, or a group of nothing else."""
    return all(isinstance(leaf, (TaskCancelled, ProgressError)) for leaf in _leaves(error))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Return the exceptions in a group and in the groups inside it; for any other exception, that one."""
    # The class is recognised by its attribute: Python has it from 3.11 on, and for 3.10 there is a package of it.
    inner = getattr(error, 'exceptions', None)
    if isinstance(inner, tuple) and inner and all(isinstance(leaf, BaseException) for leaf in inner):
        for leaf in inner:
            yield from _leaves(leaf)
    else:
        yield error


def _text_of(error: ProgressError) -> str | None:
    """Return the text of an error; None, which is logged, if that raises an exception itself."""
    try:
        text = str(error)
        # str() returns the id of a TranslationString; encode() interpolates the TranslationString itself.
        if len(error.args) == 1 and isinstance(error.args[0], str) and error.args[0] == text:
            text = error.args[0]
        return str(text.interpolate()) if hasattr(text, 'interpolate') else text
    except Exception:
        log.exception('The text of a %s cannot be determined', type(error).__name__)
        return None
