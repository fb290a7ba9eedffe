"""The files of ``examples/``."""

import importlib.util
import sys

from .environments import ROOT

EXAMPLES = ROOT / 'examples'
GUIDES = EXAMPLES / 'guides'


def load(path):
    """Return the module of a file, under a name of its own."""
    name = f'example_{path.parent.name}_{path.stem}'
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickle finds its functions
    spec.loader.exec_module(module)
    return module
