"""The command ``pprogress``: the tasks of an application, in the terminal."""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from pyramid.paster import get_appsettings, setup_logging
from pyramid.scripts.common import parse_vars

from ..queries import ANY, MAX_RECORDS, find_tasks
from ..runtime import configure, current_store
from ..statuses import cancel_task, forget_task
from ..storage import Entry, StorageError
from .listing import listing
from .summary import plain, summaries

DESCRIPTION = """\
List the tasks of an application, newest first; or ask a task to stop; or remove one. The list has the tasks that are
pending, running or stalled, and the finished tasks whose end was not acknowledged; with --all, every task. This command
does not acknowledge any.
"""

EPILOG = """\
The exit code is 1 if the statuses cannot be read, or the task cannot be cancelled or removed; and 2 if the ini file or
an argument is invalid.
"""

#: How many tasks ``--watch`` reads at most.
_MAX_WATCHED = 200

#: The exit code of a program that Ctrl-C ended, as shells define it: 128 + the number of SIGINT.
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: its arguments; by default those of the process
    :return: the exit code: 0; 1 if the statuses cannot be read or changed; 2 if the ini file or an argument is invalid;
        130 after Ctrl-C
    """
    args = _parser().parse_args(argv)
    try:
        return _run(args)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of the pipe, such as `head`, has closed it. Python would fail again when it flushes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser('pprogress', description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument(
        'config_uri', help='the ini file with the settings of the application; "file.ini#name" for [app:name]'
    )
    parser.add_argument(
        'config_vars', nargs='*', help='variables that the ini file needs, as "name=value" for %%(name)s'
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument('--watch', action='store_true', help='keep showing live bars, until Ctrl-C')
    output.add_argument('--json', action='store_true', help='print a JSON list of statuses, each with its id')
    output.add_argument('--cancel', metavar='ID', help='ask a task to stop')
    output.add_argument('--forget', metavar='ID', help='remove a task; one that still runs is written again')
    parser.add_argument('--all', action='store_true', help='list the tasks that have ended, too')
    parser.add_argument(
        '--status',
        help='list only the tasks with this status, such as running, stalled or failed; implies --all',
    )
    parser.add_argument('--owner', help='list only the tasks of this owner')
    parser.add_argument('--tag', help='list only the tasks with this tag')
    return parser


def _run(args: argparse.Namespace) -> int:
    try:
        _configure(args.config_uri, args.config_vars)
    except Exception as error:  # noqa: BLE001  (an ini file names objects to import, which can raise any error)
        reason = repr(error) if isinstance(error, KeyError) else error  # its text is only the key
        return _fail(f'cannot use {args.config_uri}: {reason}', 2)
    try:
        if args.cancel is not None:
            return _report(cancel_task(args.cancel), args.cancel, 'was asked to stop', 'cannot be asked to stop')
        if args.forget is not None:
            return _report(forget_task(args.forget), args.forget, 'was removed', 'does not exist')
        if args.watch:
            return _watch(args)
        tasks = _tasks(args)
    except ValueError as error:
        return _fail(str(error), 2)
    except StorageError as error:
        return _fail(f'cannot read the tasks: {error}', 1)
    if args.json:
        print(json.dumps(tasks, indent=2), flush=True)
    elif tasks:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors='replace')  # for a terminal without Unicode
        print('\n'.join(listing(summaries(tasks))), flush=True)
    else:
        print('There are no tasks.', file=sys.stderr)
    return 0


def _configure(config_uri: str, config_vars: Sequence[str]) -> None:
    """Set up the regions from an ini file, without the rest of the application."""
    variables = {'__script__': 'pprogress'} | parse_vars(config_vars)
    setup_logging(config_uri, global_conf=variables)
    types = configure(get_appsettings(config_uri, options=variables)).region_types()
    in_memory = ', '.join(sorted(name for name, region_type in types.items() if region_type == 'memory'))
    if in_memory:
        print(
            f'A region of the type memory ({in_memory}) has only the tasks of its own process: tasks of other processes'
            ' are not shown.',
            file=sys.stderr,
        )


def _watch(args: argparse.Namespace) -> int:
    if not sys.stdout.isatty():
        return _fail('--watch needs a terminal; programs can use --json', 2)
    try:
        from .watch import watch
    except ModuleNotFoundError as error:
        if error.name != 'rich':
            raise
        return _fail("--watch needs rich: pip install 'pyramid_progress[terminal]'", 2)
    # No more than one page: it is read twice a second.
    watch(lambda: _page(args, None, _MAX_WATCHED))
    return 0


def _tasks(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the statuses of all tasks to list, each with its ``id``, newest first."""
    tasks, before = _page(args, None, MAX_RECORDS)
    while before is not None:
        more, before = _page(args, before, MAX_RECORDS)
        tasks += more
    return tasks


def _page(args: argparse.Namespace, before: Entry | None, limit: int) -> tuple[list[dict[str, Any]], Entry | None]:
    """Return some statuses, and where to go on."""
    page = find_tasks(
        current_store().storage,
        owner=ANY if args.owner is None else args.owner,
        status=args.status,
        tag=args.tag,
        with_ended=args.all or args.status is not None,
        limit=limit,
        before=before,
    )
    return [{'id': found.progress_id} | found.status for found in page.tasks], page.next


def _report(done: bool, progress_id: str, success: str, failure: str) -> int:
    if not done:
        return _fail(f'task {progress_id!r} {failure}', 1)
    print(plain(f'Task {progress_id} {success}.'))
    return 0


def _fail(message: str, code: int) -> int:
    print(plain(f'pprogress: {message}'), file=sys.stderr)
    return code


if __name__ == '__main__':
    sys.exit(main())
