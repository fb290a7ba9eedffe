"""Scripts that run first in each page of the tests' servers, for a browser whose driver cannot add any."""

import re

PATH = '/init-scripts.js'

#: What the driver has added.
scripts = []


def text():
    """Return the file at the path."""
    return ';\n'.join(scripts)


def add_to(page, headers):
    """Return the answer to a request with these headers; if it is a page that is shown, it loads the file."""
    if not scripts or headers.get('Sec-Fetch-Mode') != 'navigate':
        return page
    return re.sub('(?is)^(.*?<head>|<!doctype html>)?', rf'\1<script src="{PATH}"></script>', page, count=1)
