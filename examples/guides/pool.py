"""Processes that share a bar: python pool.py development.ini"""

import sys
import zlib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from pyramid.paster import get_appsettings

import pyramid_progress

CHUNKS = [[b'customers' * 100] * 30, [b'orders' * 100] * 10]


def compress(part, reports):
    """Do one part of the work, in a process of the pool."""
    with part.start() as task:
        return [zlib.compress(report) for report in task.track(reports)]


def main():
    settings = dict(get_appsettings(sys.argv[1]))
    pyramid_progress.configure(settings)
    with (
        ProcessPoolExecutor(2, get_context('spawn'), pyramid_progress.configure, [settings]) as pool,
        pyramid_progress.start_task('Compressing the reports') as task,
    ):
        parts = task.parts([len(chunk) for chunk in CHUNKS])
        futures = [pool.submit(compress, part, chunk) for part, chunk in zip(parts, CHUNKS, strict=True)]
    for future in futures:
        print(f'{len(future.result())} reports')


if __name__ == '__main__':
    main()
