"""The command ``pprogress``: the tasks of an application, in the terminal."""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from beaker.cache import cache_regions
from pyramid.paster import get_appsettings, setup_logging
from pyramid.scripts.common import parse_vars

from ..regions import configure, store
from ..storage import StorageError
from ..storage.record import is_listed, public
from .listing import listing
from .summary import plain, summaries

DESCRIPTION = """\
List the tasks of an application: those that were started and have neither failed nor been cancelled, and of the
finished ones those whose end nobody has read. To look here does not count as reading. The newest comes first.
"""

EPILOG = """\
The exit code is 1 where the store of progress does not answer, and 2 where the ini file or an argument will not do.
"""

#: What a shell gives for a program that Ctrl-C ended: 128 and the number of SIGINT.
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: its arguments; those of the process, by default
    :return: the exit code: 0; 1 where the store does not answer; 2 where the ini file or an argument will not do; 130
        after Ctrl-C
    """
    args = _parser().parse_args(argv)
    try:
        return _run(args)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read this has seen enough. Python would complain once more when it closes the stream.
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
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument('--watch', action='store_true', help='keep showing live bars, until Ctrl-C')
    shape.add_argument('--json', action='store_true', help='print a JSON list of statuses, each with its id')
    parser.add_argument('--tag', help='only the tasks with this tag')
    return parser


def _run(args: argparse.Namespace) -> int:
    try:
        _configure(args.config_uri, args.config_vars)
    except Exception as error:  # noqa: BLE001  (an ini file names objects, and so can raise whatever they do)
        reason = repr(error) if isinstance(error, KeyError) else error  # whose text is the key alone
        return _complain(f'{args.config_uri} will not do: {reason}', 2)
    try:
        if args.watch:
            return _watch(args.tag)
        tasks = _tasks(args.tag)
    except StorageError as error:
        return _complain(f'the store of progress does not answer: {error}', 1)
    if args.json:
        print(json.dumps(tasks, indent=2), flush=True)
    elif tasks:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors='replace')  # a terminal that has no such character
        print('\n'.join(listing(summaries(tasks))), flush=True)
    else:
        print('There are no tasks.', file=sys.stderr)
    return 0


def _configure(config_uri: str, config_vars: Sequence[str]) -> None:
    """Set up the regions from an ini file; nothing else of the application."""
    variables = {'__script__': 'pprogress'} | parse_vars(config_vars)
    setup_logging(config_uri, global_conf=variables)
    settings = configure(get_appsettings(config_uri, options=variables))
    regions = sorted({settings.tasks_region, settings.status_region})
    in_memory = ', '.join(region for region in regions if cache_regions[region]['type'] == 'memory')
    if in_memory:
        print(
            f'A region of the type memory ({in_memory}) holds what its own process does: the tasks of others cannot'
            ' be seen.',
            file=sys.stderr,
        )


def _watch(tag: str | None) -> int:
    if not sys.stdout.isatty():
        return _complain('--watch needs a terminal; --json is for programs', 2)
    try:
        from .watch import watch
    except ModuleNotFoundError as error:
        if error.name != 'rich':
            raise
        return _complain("--watch needs rich: pip install 'pyramid_progress[terminal]'", 2)
    watch(lambda: _tasks(tag))
    return 0


def _tasks(tag: str | None) -> list[dict[str, Any]]:
    """Return the statuses of the tasks on the list, each with its ``id``, the newest first."""
    storage = store().storage
    tasks = [
        {'id': progress_id} | public(record, storage.now)
        for progress_id, record in storage.read(list(storage.tasks())).items()
        if is_listed(record)
    ]
    if tag is not None:
        tasks = [task for task in tasks if tag in _tags(task)]
    return sorted(tasks, key=lambda task: str(task['started']), reverse=True)


def _tags(task: dict[str, Any]) -> list[Any]:
    tags = task['tags']
    return tags if isinstance(tags, list) else [tags]


def _complain(sentence: str, code: int) -> int:
    print(plain(f'pprogress: {sentence}'), file=sys.stderr)
    return code


if __name__ == '__main__':
    sys.exit(main())
