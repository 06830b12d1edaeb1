"""The wall: a line from a machine to this host, and panels on it by somebody else (tests/peers/osdp_pd.py, libosdp).

Invariants:
- A panel outlives every restart of its machine, and keeps the key that it was paired with.
- A door is open when the panel has been told to switch its lock: nothing that the gateway says counts.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import select
import subprocess
import threading
import time
import tty

from machine import PLACE, ROOT, Seen, wait

VENV = pathlib.Path(os.environ.get("INTERCOM_GATEWAY_PEERS", PLACE.parent / "peers-venv"))
TIOCNXCL = 0x540D


class Line:
    """A serial line: a tty of group dialout in the machine, joined to one of this host."""

    def __init__(self, machine, device):
        self.device = device
        self.here, slave = pty.openpty()
        tty.setraw(slave)
        self.slave = slave
        self.panels_end = os.ttyname(slave)
        self.there = self.tty = None
        self.polled = threading.Event()
        self.first_poll = None
        self.ended = False
        self.moving = threading.Lock()
        machine.lines.append(self)
        if machine.is_on():
            self.attach(machine)
        self.thread = threading.Thread(target=self._carry, daemon=True)
        self.thread.start()

    def attach(self, machine):
        """Makes the machine's end, after each start of it."""
        self.there, self.tty = machine.line_end(self.device)

    def detach(self):
        """Takes the machine's end away: it has no power, or somebody has pulled the plug."""
        # Not while it is read: its number may be another file's at once.
        with self.moving:
            for end in (self.there, self.tty):
                if end is not None:
                    os.close(end)
            self.there = self.tty = None

    def forget(self):
        """Forgets that the line was ever polled."""
        self.polled.clear()

    def _carry(self):
        unlocked = 0.0
        # The wall does not starve where its machine does.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -10)
        while not self.ended:
            with self.moving:
                try:
                    # A pseudo-terminal keeps its exclusive lock after the last close, which a UART does not.
                    if self.tty is not None and time.monotonic() - unlocked > 0.3:
                        unlocked = time.monotonic()
                        fcntl.ioctl(self.tty, TIOCNXCL)
                    self._pass_on()
                except OSError:
                    pause = 0.05
                else:
                    pause = 0
            time.sleep(pause)

    def _pass_on(self):
        ends = [end for end in (self.here, self.there) if end is not None]
        for end in select.select(ends, [], [], 0.05)[0]:
            read = os.read(end, 4096)
            if end == self.there:
                if not self.polled.is_set():
                    self.first_poll = time.monotonic()
                    self.polled.set()
                os.write(self.here, read)
            elif self.there is not None:
                os.write(self.there, read)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Takes the line away for good."""
        self.ended = True
        self.thread.join()
        self.detach()
        os.close(self.here)
        os.close(self.slave)


class Panel:
    """A panel with one reader and one lock at the end of a line. Without a key it is new, and takes one."""

    def __init__(self, line, address=0, key=None):
        self.address = address
        self.heard = []
        command = ["nice", "-n", "-10", VENV / "bin/python", ROOT / "tests/peers/osdp_pd.py",
                   "--dev", line.panels_end, "--addr", str(address)]
        if key:
            command += ["--scbk", key, "--enforce"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for said in self.process.stdout:
            self.heard.append(json.loads(said))

    def tell(self, what):
        """Has something done at the panel: a line of osdp_pd.py's."""
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()

    def commands(self, name, since=0):
        """Returns the commands of one name that it was sent."""
        return [c for c in self.heard[since:] if c["ev"] == "cmd" and c["name"] == name]

    def is_secure(self):
        """Returns whether its secure channel is up."""
        states = [said["active"] for said in self.heard if said["ev"] == "sc"]
        return bool(states) and states[-1]

    def keys_taken(self):
        """Returns how often it was given a key: each time is a visit of somebody who has reset it."""
        return len(self.commands("Keyset"))

    def opens(self, card, seconds=60):
        """Presents a card, again every six seconds as people do, until the lock is switched."""
        wait("its secure channel is up", self.is_secure, seconds)
        since = len(self.heard)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.tell(f"card {self.address} {card} 32 0")
            with contextlib.suppress(Seen):
                return wait("the lock is switched", lambda: self._unlocked(since), 6, 0.02)
        raise Seen(f"the door does not open for {card} within {seconds} s")

    def stays_shut(self, card, seconds=4):
        """Presents a card that must not open."""
        since = len(self.heard)
        self.tell(f"card {self.address} {card} 32 0")
        time.sleep(seconds)
        if self._unlocked(since):
            raise Seen(f"the door opens for {card}")

    def _unlocked(self, since):
        # Control codes 2 and 5: on for good, on for a time.
        return [c for c in self.commands("Output", since) if c.get("control_code") in (2, 5)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Takes it off the wall."""
        self.process.kill()
        self.process.wait()
