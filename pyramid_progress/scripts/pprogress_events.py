"""The command ``pprogress-events``: a server of event streams, beside the web application."""

import argparse
import gc
import socket
import sys
from collections.abc import Sequence

from pyramid.paster import get_app, setup_logging
from pyramid.scripts.common import parse_vars

try:
    import uvicorn

    from ..asgi import EventsApplication
except ImportError:  # the extra `push` is not installed
    sys.exit('pprogress-events needs uvicorn and starlette: pip install "pyramid_progress[push]"')

DESCRIPTION = """\
Serve event streams, which update the bars of many pages without polling. The server makes the application of the ini
file in its own process, to decide what each visitor may see, and reads the tasks from the same store. The setting
progress.events_url gives its URL to the pages.
"""

#: How many new objects there are when the garbage collector runs. A change of a task makes objects that live until the
#: next change: with Python's default of 700, the collector looks at them many times a second, and often at those of all
#: streams. This takes a tenth of the processor time.
_COLLECTION_THRESHOLD = 10_000

#: The exit code of a program that Ctrl-C ended, as shells define it: 128 + the number of SIGINT.
_INTERRUPTED = 130


class _Server(uvicorn.Server):
    """Ends the streams before it waits for the end of all requests."""

    def __init__(self, config: uvicorn.Config, events: EventsApplication) -> None:
        super().__init__(config)
        self._events = events

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._events.close_streams()
        await super().shutdown(sockets)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: its arguments; by default those of the process
    :return: the exit code: 2 if the ini file is invalid, 130 after Ctrl-C. uvicorn exits with 3 if it cannot listen
    """
    args = _parser().parse_args(argv)
    try:
        setup_logging(args.config_uri, parse_vars(args.config_vars))
        app = get_app(args.config_uri, options=parse_vars(args.config_vars))
        events = EventsApplication(app)
        if 'memory' in events.region_types:
            raise ValueError(
                'a region has the type memory, which other processes cannot read; valid are all other types, such as '
                'sqlite or ext:redis'
            )
    except Exception as error:  # noqa: BLE001  (making an application can raise any error)
        print(f'pprogress-events: cannot make the application of {args.config_uri}: {error!r}', file=sys.stderr)
        return 2
    host, port = args.listen
    config = uvicorn.Config(
        events,
        host=host,
        port=port,
        forwarded_allow_ips=args.forwarded_allow_ips,
        lifespan='on',
        log_config=None,  # the logging of the ini file
        access_log=False,
        timeout_graceful_shutdown=5,
    )
    gc.set_threshold(_COLLECTION_THRESHOLD)
    try:
        _Server(config, events).run()
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser('pprogress-events', description=DESCRIPTION)
    parser.add_argument(
        'config_uri', help='the ini file with the settings of the application; "file.ini#name" for [app:name]'
    )
    parser.add_argument(
        'config_vars', nargs='*', help='variables that the ini file needs, as "name=value" for %%(name)s'
    )
    parser.add_argument(
        '--listen', type=_address, default=('127.0.0.1', 6544), metavar='HOST:PORT', help='127.0.0.1:6544 by default'
    )
    parser.add_argument(
        '--forwarded-allow-ips',
        default='127.0.0.1',
        metavar='ADDRESSES',
        help='proxies whose header X-Forwarded-For names the client, separated by commas; 127.0.0.1 by default',
    )
    return parser


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(':')
    if not host or not port.isdecimal() or not int(port) < 65536:
        raise argparse.ArgumentTypeError(f'{text!r}: must be HOST:PORT, such as 127.0.0.1:6544')
    return host.strip('[]'), int(port)
