"""Modules and programs that a figure needs, and that may be missing."""

import importlib
import shutil
from typing import Any


class Missing(Exception):
    """A figure cannot be measured; the message says why."""


def module(name: str, distribution: str) -> Any:
    """Return a module.

    :raises Missing: if it cannot be imported; the message names its distribution
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(f'{distribution} is not installed ({error})') from error


def program(name: str) -> str:
    """Return the path of a program.

    :raises Missing: if it is not installed
    """
    path = shutil.which(name)
    if path is None:
        raise Missing(f'there is no {name}')
    return path
