"""Somebody on the wire of an OSDP line: passes whole frames on, or swallows, rewrites or answers them.

Independent of the gateway's own code. Pure Python.
"""
import os
import select
import threading
import time

MARK = b"\xff"
START = 0x53
LONGEST = 1440


def crc(data):
    """Returns the CRC of OSDP over these bytes."""
    value = 0x1D0F
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = ((value << 1) ^ 0x1021 if value & 0x8000 else value << 1) & 0xFFFF
    return value


def plain_reply(address, sequence, code, data=b""):
    """Returns a reply in plaintext, such as anybody can make."""
    body = bytes([START, address | 0x80]) + (len(data) + 8).to_bytes(2, "little")
    body += bytes([4 | sequence, code]) + data
    return body + crc(body).to_bytes(2, "little")


def take_frames(buffer):
    """Takes the complete frames off a bytearray, and the noise between them."""
    taken = []
    while True:
        start = buffer.find(START)
        if start < 0:
            del buffer[:]
            return taken
        del buffer[:start]
        if len(buffer) < 4:
            return taken
        length = buffer[2] | buffer[3] << 8
        if not 7 <= length <= LONGEST:
            del buffer[:1]
            continue
        if len(buffer) < length:
            return taken
        taken.append(bytes(buffer[:length]))
        del buffer[:length]


def address_of(frame):
    """Returns the address of a frame."""
    return frame[1] & 0x7F


def sequence_of(frame):
    """Returns the sequence number of a frame."""
    return frame[4] & 3


def security_of(frame):
    """Returns the type of a frame's security block, 0 where it has none."""
    return frame[6] if frame[4] & 8 else 0


def code_of(frame):
    """Returns the command or reply code of a frame; it is never encrypted."""
    return frame[5 + frame[5]] if frame[4] & 8 and len(frame) > 5 + frame[5] else frame[5]


class Relay:
    """Joins the gateway's end of a line and the panel's, both file descriptors.

    `answer(command)` may answer in the panel's place: a list of frames, empty to swallow the command, or None to pass
    it on. `reply(frame)` may rewrite the panel's reply: a frame, or None to swallow it. `heard(command)` is told of
    every command, whatever becomes of it; `tick()` is called several times a second.
    """

    TURNAROUND = 0.002

    def __init__(self, gateway, panel, heard, tick):
        self.gateway = gateway
        self.panel = panel
        self.heard = heard
        self.tick = tick
        self.answer = None
        self.reply = None
        self.passed = None
        threading.Thread(target=self._run, daemon=True).start()

    def to_gateway(self, frame):
        """Sends a frame to the gateway; what nobody reads is lost, as on a wire."""
        try:
            os.write(self.gateway, MARK + frame)
        except BlockingIOError:
            pass

    def settle(self):
        """Waits until the panel is through with the command that was passed on to it last, or says nothing to it."""
        while self.passed and time.monotonic() - self.passed < 0.25:
            time.sleep(0.001)

    def _run(self):
        commands = bytearray()
        replies = bytearray()
        while True:
            ready, _, _ = select.select([self.gateway, self.panel], [], [], 0.05)
            self.tick()
            if self.gateway in ready:
                commands += os.read(self.gateway, 4096)
                for frame in take_frames(commands):
                    self._command(frame)
            if self.panel in ready:
                replies += os.read(self.panel, 4096)
                for frame in take_frames(replies):
                    self.passed = None
                    frame = self.reply(frame) if self.reply else frame
                    if frame:
                        self.to_gateway(frame)

    def _command(self, frame):
        self.heard(frame)
        answers = self.answer(frame) if self.answer else None
        if answers is None:
            self.passed = time.monotonic()
            os.write(self.panel, MARK + frame)
            return
        time.sleep(self.TURNAROUND)
        for answer in answers:
            self.to_gateway(answer)
