#!/usr/bin/env python3
"""osdp_cp.py - the peer of the bench `door`: libosdp 3.2.9's control panel (PyPI) on a serial line.

usage: osdp_cp.py --port DEV --baud N --panels N --key HEX

Polls the panels at addresses 0 … N-1 over a secure channel with that key. At once on a card (they all open) it has
OUT sent to its panel, and prints

    card PANEL NANOSECONDS HEX

with the time of the event on CLOCK_MONOTONIC. Ends when stdin does.
"""
import argparse, os, select, sys, termios, time, tty
from osdp import Channel, Command, ControlPanel, Event, LibFlag, LogLevel, PDInfo

# A refresh moves libosdp one state on; between two it waits for bytes, at most this long.
REFRESH_SECONDS = 0.001
OUT = {"command": Command.Output, "output_no": 0, "control_code": 5, "timer_count": 30}


def open_serial(path, baud):
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    tty.setraw(fd)
    settings = termios.tcgetattr(fd)
    settings[4] = settings[5] = getattr(termios, f"B{baud}")
    termios.tcsetattr(fd, termios.TCSANOW, settings)
    return fd


class Line(Channel):
    """The line, shared by all panels. Hands over whole frames only: libosdp 3.2.9 drops a frame that a refresh
    finds incomplete."""

    def __init__(self, fd):
        self.id = 1  # 0 means "shared with nobody", and then the panels talk at once
        self.fd, self.received, self.whole = fd, bytearray(), bytearray()

    def gather(self):
        try:
            self.received += os.read(self.fd, 4096)
        except BlockingIOError:
            return
        while True:
            mark = self.received.find(0x53)
            if mark < 0 or len(self.received) < mark + 4:
                return
            end = mark + int.from_bytes(self.received[mark + 2 : mark + 4], "little")
            if end < mark + 7 or end > mark + 1440:
                del self.received[: mark + 1]
                continue
            if len(self.received) < end:
                return
            self.whole += self.received[:end]
            del self.received[:end]

    def read(self, limit):
        self.gather()
        taken = bytes(self.whole[:limit])
        del self.whole[:limit]
        return taken

    def write(self, frame):
        return os.write(self.fd, frame)

    def flush(self):
        self.gather()
        self.received.clear()
        self.whole.clear()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", required=True)
    parser.add_argument("--baud", type=int, required=True)
    parser.add_argument("--panels", type=int, required=True)
    parser.add_argument("--key", required=True)
    arguments = parser.parse_args()
    try:  # ahead of ordinary threads, as the gateway's bus is
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pass
    line = Line(open_serial(arguments.port, arguments.baud))
    infos = [
        PDInfo(address, line, scbk=bytes.fromhex(arguments.key), flags=[LibFlag.EnforceSecure])
        for address in range(arguments.panels)
    ]

    def happened(panel, event):
        if event["event"] == Event.CardRead:
            now = time.monotonic_ns()
            control_panel.ctx.submit_command(panel, OUT)
            print("card", panel, now, bytes(event["data"]).hex(), flush=True)
        return 0

    control_panel = ControlPanel(infos, log_level=LogLevel.Emergency, event_handler=happened)
    while True:
        ready, _, _ = select.select([line.fd, 0], [], [], REFRESH_SECONDS)
        if 0 in ready and not os.read(0, 1024):
            return
        control_panel.ctx.refresh()


if __name__ == "__main__":
    sys.exit(main())
