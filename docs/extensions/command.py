"""The directive ``command``: what a command prints for ``--help``."""

import os
import subprocess
import sys
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class CommandDirective(SphinxDirective):
    """``{command} module``: the help of the command whose ``main()`` is in this module."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        code = f'from {self.arguments[0]} import main; main(["--help"])'
        command = [sys.executable, '-c', code]
        variables = os.environ | {'COLUMNS': '88', 'NO_COLOR': '1'}
        done = subprocess.run(command, env=variables, capture_output=True, text=True)  # noqa: S603
        if done.returncode or not done.stdout:
            raise self.error(f'{code} failed: {done.stderr}')
        return [nodes.literal_block(done.stdout, done.stdout, language='text')]


def setup(app: Any) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive('command', CommandDirective)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
