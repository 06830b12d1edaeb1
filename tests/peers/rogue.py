#!/usr/bin/env python3
"""A rogue OSDP panel, and somebody on the wire between it and the gateway. Independent of the gateway's own code.

  rogue.py --link PATH [--address N] [--key HEX] [--serial N] [--capabilities HEX] [--refuses-default]

PATH becomes a link to the gateway's end of the line, a pseudo-terminal. stdin takes one JSON object a line; each is
answered by {"done": …} once it is in force:
  {"do": "card", "code": HEX, "bits": N}       a card at the reader, Wiegand
  {"do": "report", "code": N, "data": HEX}     any other answer to a POLL
  {"do": "inputs", "data": HEX}                the inputs change, and the panel reports them
  {"do": "behave", "as": NAME}                 how the panel behaves, see BEHAVIOURS; or "honest"
  {"do": "swap", "key": HEX or null, "serial": N, "refuses_default": BOOL}   an honest panel takes its place
  {"do": "wire", "mode": NAME}                 what is done on the wire, see ATTACKS
  {"do": "hold", "mode": NAME, "seconds": N, "code": HEX, "bits": N}   does it for that long, and presents a card
  {"do": "mark", "commands": N, "seconds": N}  says {"seen": "mark"} after that many commands, or that much time
stdout tells what is seen, each with a time "at" in seconds, of a clock that only runs forward:
  {"seen": "command", "code", "data", "sealed", "key"}   a new command that reached the panel; of POLLs,
                                               only those in a session under SCBK-D
  {"seen": "unlock_sent"}                      an OUT on the wire, whatever becomes of it there
  {"seen": "secure", "key"}                    a secure channel is up; the key is "own" or "default"
  {"seen": "released"}                         what was done on the wire for a time is over
  {"seen": "struck"}                           what is done once was done
  {"seen": "mark", "commands", "polls", "repeats"}   commands on the wire so far, POLLs at the panel, and how often the
                                               same command in a secure channel was sent in a row at most
"""
import argparse
import json
import os
import pty
import socket
import sys
import threading
import time
import tty

import relay as wire
import rogue_panel as osdp
from relay import Relay, plain_reply
from rogue_panel import Panel

OUTPUT = threading.Lock()


def say(**words):
    with OUTPUT:
        print(json.dumps(words), flush=True)


def tell(what, **words):
    say(seen=what, at=round(time.monotonic(), 3), **words)


def raw_reply(code, bits):
    """Returns the data of a RAW reply: reader 0, Wiegand."""
    return bytes([0, 1]) + bits.to_bytes(2, "little") + code


# How the panel behaves ------------------------------------------------------------------------------------------------


def no_secure_channel(panel, command, _data):
    """Knows plaintext alone."""
    return (osdp.NAK, b"\x05") if command.code == osdp.CHLNG else None


def refuses_numbers(panel, command, _data):
    """Answers everything with NAK 4."""
    return panel.plain(command, osdp.NAK, b"\x04")


def reads_always(panel, command, _data):
    """Answers everything with a read card, in plaintext, each time another one."""
    return [panel.plain(command, osdp.RAW, raw_reply(os.urandom(4), 32))]


def read_in_plaintext(panel, command, _data):
    """In a secure channel, answers a POLL with the waiting card in plaintext."""
    if command.code == osdp.POLL and command.sealed and panel.waiting:
        tell("struck")
        return [panel.plain(command, *panel.waiting.pop(0))]
    return None


def read_unencrypted(panel, command, _data):
    """In a secure channel, answers a POLL with the waiting card, with a MAC but not encrypted."""
    if command.code == osdp.POLL and command.sealed and panel.waiting:
        tell("struck")
        code, data = panel.waiting.pop(0)
        return panel.sealed(command, code, data, kind=0x16)
    return None


def guesses(panel, command, _data):
    """In a secure channel, tells of a waiting card behind nine MACs that are guessed."""
    if command.code != osdp.POLL or not command.sealed or not panel.waiting:
        return None
    tell("struck")
    return [panel.guessed(command) for _ in range(9)] + [panel.sealed(command, *panel.waiting.pop(0))]


def guesses_wrong(panel, command, _data):
    """In a secure channel, answers everything with guessed MACs, none of them right."""
    return [panel.guessed(command) for _ in range(10)] if command.sealed else None


def changes_serial(panel, command, _data):
    """Has another serial number each time that it is asked, and asks for a new link at once."""
    if command.code == osdp.ID:
        panel.serial = int.from_bytes(os.urandom(4), "little")
        return None
    return panel.plain(command, osdp.NAK, b"\x04")


def bounces(panel, command, _data):
    """Has a contact at input 0 that is seen changed at each POLL."""
    if command.code != osdp.POLL:
        return None
    panel.inputs = bytes([1 - panel.inputs[0]]) + panel.inputs[1:]
    return osdp.ISTATR, panel.inputs


def refuses_output(panel, command, _data):
    """Refuses OUT."""
    return (osdp.NAK, b"\x03") if command.code == osdp.OUT else None


def slow_output(panel, command, _data):
    """Acknowledges OUT just in time."""
    if command.code == osdp.OUT:
        time.sleep(0.12)


def forgets_keys(panel, command, _data):
    """Acknowledges KEYSET, and goes on accepting SCBK-D alone."""
    panel.forgets_keys = True


BEHAVIOURS = {
    behaviour.__name__: behaviour
    for behaviour in (
        no_secure_channel,
        refuses_numbers,
        reads_always,
        read_in_plaintext,
        read_unencrypted,
        guesses,
        guesses_wrong,
        changes_serial,
        bounces,
        refuses_output,
        slow_output,
        forgets_keys,
    )
}


# What is done on the wire ---------------------------------------------------------------------------------------------


class Attack:
    """Does nothing; what others change of it."""

    def __init__(self, line):
        self.line = line

    def answer(self, _command):
        """As `Relay.answer`."""
        return None

    def reply(self, frame):
        """As `Relay.reply`."""
        return frame

    def end(self):
        """The attack is over."""

    @staticmethod
    def forged(command, code, data=b""):
        return plain_reply(wire.address_of(command), wire.sequence_of(command), code, data)

    @staticmethod
    def busy(frame):
        return plain_reply(wire.address_of(frame), 0, osdp.BUSY)


class Pass(Attack):
    """Nobody is on the wire."""


class Busy(Attack):
    """Answers every command with BUSY; the panel hears nothing."""

    def answer(self, command):
        return [self.busy(command)]


class HeldReply(Attack):
    """Keeps back the first reply that has data in it, such as a read card, and keeps its command open by BUSY."""

    held = False

    def answer(self, command):
        return [self.busy(command)] if self.held else None

    def reply(self, frame):
        self.held = self.held or wire.security_of(frame) == 0x18
        return self.busy(frame) if self.held else frame


class HeldReplies(Attack):
    """Keeps all replies back, and lets go of them in the end."""

    def __init__(self, line):
        super().__init__(line)
        self.kept = []

    def reply(self, frame):
        self.kept.append(frame)

    def end(self):
        for frame in self.kept[-100:]:
            self.line.relay.to_gateway(frame)


class NoChallenge(Attack):
    """Lets ID and CAP through alone, so that no secure channel comes about."""

    def answer(self, command):
        return None if wire.code_of(command) in (osdp.ID, osdp.CAP) else []


class NumberZero(Attack):
    """Answers every command with a plaintext ACK that is numbered 0."""

    def answer(self, command):
        return [plain_reply(wire.address_of(command), 0, osdp.ACK)]


class NoUnlock(Attack):
    """Swallows every OUT."""

    def answer(self, command):
        return [] if wire.code_of(command) == osdp.OUT else None


class UnlockAnswerLost(Attack):
    """Loses the first answer to an OUT; the panel has taken it."""

    lose = done = False

    def answer(self, command):
        self.lose = not self.done and wire.code_of(command) == osdp.OUT
        return None

    def reply(self, frame):
        self.done = self.done or self.lose
        return None if self.lose else frame


class OnlyIdentity(Attack):
    """Cuts the panel off, and answers ID in its place."""

    def answer(self, command):
        if wire.code_of(command) != osdp.ID:
            return []
        return [self.forged(command, osdp.PDID, b"\x5a\xd9\x0e\x01\x01" + bytes(4) + b"\x01\x02\x03")]


class Silence(Attack):
    """Cuts the panel off."""

    def answer(self, _command):
        return []


class ExitPressed(Attack):
    """Cuts the panel off and speaks in its place, in plaintext: somebody presses the exit button at input 1."""

    def answer(self, command):
        code = wire.code_of(command)
        if wire.security_of(command) >= 0x15:
            return [self.forged(command, osdp.NAK, b"\x06")]
        if code == osdp.ID:
            serial = self.line.panel.serial.to_bytes(4, "little")
            return [self.forged(command, osdp.PDID, b"\x5a\xd9\x0e\x01\x01" + serial + b"\x01\x02\x03")]
        if code == osdp.CAP:
            return [self.forged(command, osdp.PDCAP, osdp.CAPABILITIES)]
        if code == osdp.CHLNG:
            return [self.forged(command, osdp.NAK, b"\x05")]
        if code == osdp.ISTAT:
            return [self.forged(command, osdp.ISTATR, bytes(4))]
        if code == osdp.POLL:
            return [self.forged(command, osdp.ISTATR, b"\0\1\0\0")]
        return [self.forged(command, osdp.ACK)]


class ForgedSerials(Attack):
    """Begins a new link now and then, with another serial number each time; the rest is true."""

    count = 0

    def answer(self, command):
        self.count += 1
        if wire.code_of(command) == osdp.ID:
            return [self.forged(command, osdp.PDID, b"\x5a\xd9\x0e\x01\x01" + os.urandom(4) + b"\x01\x02\x03")]
        if wire.code_of(command) == osdp.POLL and self.count % 4 == 0:
            return [plain_reply(wire.address_of(command), 0, osdp.ACK)]
        return None


class ThreeOfFourLost(Attack):
    """Loses three of four replies."""

    count = 0

    def reply(self, frame):
        self.count += 1
        return None if self.count % 4 else frame


class CheckFailed(Attack):
    """Answers one POLL in a secure channel with a plaintext NAK 1, as a panel does that heard noise."""

    done = False

    def answer(self, command):
        if self.done or wire.security_of(command) < 0x15 or wire.code_of(command) != osdp.POLL:
            return None
        self.done = True
        tell("struck")
        return [self.forged(command, osdp.NAK, b"\x01")]


ATTACKS = {
    "pass": Pass,
    "busy": Busy,
    "held_reply": HeldReply,
    "held_replies": HeldReplies,
    "no_challenge": NoChallenge,
    "number_zero": NumberZero,
    "no_unlock": NoUnlock,
    "unlock_answer_lost": UnlockAnswerLost,
    "only_identity": OnlyIdentity,
    "silence": Silence,
    "exit_pressed": ExitPressed,
    "forged_serials": ForgedSerials,
    "three_of_four_lost": ThreeOfFourLost,
    "check_failed": CheckFailed,
}


class Line:
    """The panel, the wire, and the gateway's end of it."""

    def __init__(self, options):
        gateway, self.terminal = pty.openpty()
        tty.setraw(self.terminal)
        os.set_blocking(gateway, False)
        if os.path.islink(options.link):
            os.remove(options.link)
        os.symlink(os.ttyname(self.terminal), options.link)
        # The terminal and both sockets stay open as long as this program runs.
        self.ends = socket.socketpair()
        key = bytes.fromhex(options.key) if options.key else None
        self.panel = Panel(
            self.ends[0].fileno(), options.address, key, options.serial, tell, options.refuses_default
        )
        if options.capabilities:
            self.panel.capabilities = bytes.fromhex(options.capabilities)
        self.commands = 0
        self.sealed = b""
        self.repeats = self.most_repeats = 0
        self.mark = None
        self.until = None
        self.attack = Pass(self)
        self.relay = Relay(gateway, self.ends[1].fileno(), self.heard, self.tick)

    def heard(self, command):
        self.commands += 1
        self.repeats = self.repeats + 1 if command == self.sealed else 1
        self.sealed = command if wire.security_of(command) >= 0x15 else b""
        if wire.code_of(command) == osdp.OUT:
            tell("unlock_sent")
        if self.sealed:
            self.most_repeats = max(self.most_repeats, self.repeats)

    def tick(self):
        now = time.monotonic()
        if self.until and now >= self.until:
            self.change(Pass(self), None)
            tell("released")
        if self.mark and (self.commands >= self.mark[0] or now >= self.mark[1]):
            self.mark = None
            tell("mark", commands=self.commands, polls=self.panel.polls, repeats=self.most_repeats)

    def change(self, attack, seconds):
        self.until = time.monotonic() + seconds if seconds else None
        self.attack.end()
        self.attack = attack
        self.relay.answer, self.relay.reply = attack.answer, attack.reply
        # What is presented from now on comes in no answer to a command that went through before.
        self.relay.settle()

    def present(self, order):
        data = raw_reply(bytes.fromhex(order["code"]), order["bits"])
        self.panel.waiting.append((osdp.RAW, data))

    def follow(self, order):
        """Carries out one order."""
        what = order["do"]
        if what == "card":
            self.present(order)
        elif what == "report":
            data = bytes.fromhex(order["data"])
            if order["code"] == osdp.RSTATR:
                self.panel.readers = data
            self.panel.waiting.append((order["code"], data))
        elif what == "inputs":
            self.panel.inputs = bytes.fromhex(order["data"])
            self.panel.waiting.append((osdp.ISTATR, self.panel.inputs))
        elif what == "behave":
            self.panel.behave = None if order["as"] == "honest" else BEHAVIOURS[order["as"]]
        elif what == "swap":
            self.panel.swap(bytes.fromhex(order["key"] or "") or None, order["serial"], order["refuses_default"])
        elif what == "wire":
            self.change(ATTACKS[order["mode"]](self), None)
        elif what == "hold":
            self.change(ATTACKS[order["mode"]](self), order["seconds"])
            self.present(order)
        elif what == "mark":
            self.mark = (self.commands + order["commands"], time.monotonic() + order["seconds"])
        else:
            raise ValueError(f"unknown order {what}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--link", required=True)
    parser.add_argument("--address", type=int, default=0)
    parser.add_argument("--key")
    parser.add_argument("--serial", type=int, default=0x1000)
    parser.add_argument("--capabilities")
    parser.add_argument("--refuses-default", action="store_true")
    parser.add_argument("--behave", choices=BEHAVIOURS)
    options = parser.parse_args()
    line = Line(options)
    line.panel.behave = BEHAVIOURS.get(options.behave)
    say(done="start")
    for text in sys.stdin:
        order = json.loads(text)
        # What an order leads to is told behind its end.
        with OUTPUT:
            line.follow(order)
            print(json.dumps({"done": order["do"]}), flush=True)


main()
