"""Says each row and judges it: `ok`, or `FAILED` and what was seen."""

import contextlib
import subprocess
import sys
import time
import traceback

from machine import Seen

# What a machine may make of a row; anything else is a mistake of the test's.
EXPECTED = (Seen, AssertionError, OSError, ValueError, LookupError, subprocess.SubprocessError)


class Judge:
    """Counts what failed; a row that fails keeps no later one from being tried."""

    def __init__(self):
        self._theme = ""
        self.good = 0
        self.failed = []

    @contextlib.contextmanager
    def theme(self, name):
        """The rows of one theme. What is raised between them ends the theme, and is a failure."""
        self._theme = name
        try:
            yield
        except EXPECTED as seen:
            self._failed("its other rows were not tried", seen)

    @contextlib.contextmanager
    def row(self, what, machine=None):
        """One row. What is raised in it is what was seen; a `machine` is asked for its service's last words."""
        began = time.monotonic()
        notes = []
        try:
            yield notes
        except EXPECTED as seen:
            self._failed(what, seen)
            if machine and machine.is_on():
                log = machine.run("journalctl --unit intercom-gateway --output cat --lines 12 --no-pager").stdout
                for line in log.splitlines():
                    self._say(f"            {line}")
        else:
            self.good += 1
            told = "; ".join([f"{time.monotonic() - began:.1f} s", *notes])
            self._say(f"ok      {self._theme}: {what} ({told})")

    def _failed(self, what, seen):
        said = str(seen) or traceback.extract_tb(seen.__traceback__)[-1].line
        if not isinstance(seen, (Seen, AssertionError)):
            said = f"{type(seen).__name__}: {said}"
        self._say(f"FAILED  {self._theme}: {what}: {said}")
        self.failed.append(f"{self._theme}: {what}")

    def _say(self, text):
        print(text, flush=True)

    def end(self):
        """Says how it went, and returns the exit status."""
        self._say(f"{self.good} rows are good, {len(self.failed)} failed")
        sys.stdout.flush()
        return 1 if self.failed else 0
