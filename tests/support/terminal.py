"""A terminal for programs that need one."""

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios

from .waiting import wait_until

CTRL_C = b'\x03'

#: Makes the standard input of a program the terminal whose Ctrl-C interrupts it, and runs the program.
_CONTROL = """if True:
    import fcntl, os, sys, termios
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A pseudo-terminal in which a program runs.

    :param command: the program and its arguments, as strings
    :param env: its environment
    :param size: lines and columns
    """

    def __init__(self, command, env, size=(24, 120)):
        # Programs prefer these variables, which pytest-xdist sets, to the size of the terminal.
        env = {name: value for name, value in env.items() if name not in ('COLUMNS', 'LINES')}
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', *size, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, '-c', _CONTROL, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
        )
        os.close(slave)
        self.output = ''

    def press(self, keys):
        """Send bytes, as a keyboard does."""
        os.write(self._master, keys)

    def shows(self, text):
        """Wait until the program prints a text from now on."""
        since = len(self.output)
        wait_until(lambda: self._read() and text in self.output[since:], 30, f'the program did not print {text!r}')

    def end(self):
        """Wait until the program ends, and return its exit code."""
        while self._read():
            pass
        return self.process.wait(timeout=15)

    def close(self):
        """Kill the program, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _read(self):
        """Read the available output; return False if the program has ended."""
        if not select.select([self._master], [], [], 0.1)[0]:
            return True
        try:
            self.output += os.read(self._master, 65536).decode(errors='replace')
        except OSError:  # on Linux, this is the end of the output
            return False
        return True
