"""An OSDP panel in an attacker's hands: every step of its link and of its secure channel can be changed.

Independent of the gateway's own code. Pure Python, AES included.
"""
import os
import select
import threading
import time

from relay import MARK, START, crc, take_frames

SCBK_D = bytes(range(0x30, 0x40))

# Commands.
POLL, ID, CAP, LSTAT, ISTAT, OSTAT, RSTAT, OUT = 0x60, 0x61, 0x62, 0x64, 0x65, 0x66, 0x67, 0x68
LED, BUZ, TEXT, COMSET, KEYSET, CHLNG, SCRYPT = 0x69, 0x6A, 0x6B, 0x6E, 0x75, 0x76, 0x77
# Replies.
ACK, NAK, PDID, PDCAP, LSTATR, ISTATR, OSTATR, RSTATR = 0x40, 0x41, 0x45, 0x46, 0x48, 0x49, 0x4A, 0x4B
RAW, FMT, KEYPAD, CCRYPT, RMAC_I, BUSY = 0x50, 0x51, 0x53, 0x76, 0x78, 0x79

# Four inputs, two outputs, Wiegand cards, light, sound, CRC, AES-128.
CAPABILITIES = bytes.fromhex("010204 020202 030100 040101 050101 080100 090101")


def _double(byte):
    return ((byte << 1) ^ 0x1B) & 0xFF if byte & 0x80 else byte << 1


def _multiply(left, right):
    product = 0
    while right:
        if right & 1:
            product ^= left
        left = _double(left)
        right >>= 1
    return product


def _substitution():
    p = q = 1
    box = [0] * 256
    while True:
        p = p ^ _double(p)
        for shift in (1, 2, 4):
            q ^= q << shift
        q &= 0xFF
        if q & 0x80:
            q ^= 0x09
        value = q
        for shift in (1, 2, 3, 4):
            value ^= (q << shift | q >> (8 - shift)) & 0xFF
        box[p] = value ^ 0x63
        if p == 1:
            box[0] = 0x63
            return box


SUBSTITUTE = _substitution()
RESTORE = [SUBSTITUTE.index(value) for value in range(256)]
PRODUCTS = {factor: [_multiply(value, factor) for value in range(256)] for factor in (2, 3, 9, 11, 13, 14)}


def _mix(state, factors):
    """Multiplies each column by the circulant matrix of these factors."""
    mixed = []
    for column in range(0, 16, 4):
        for row in range(4):
            value = 0
            for offset in range(4):
                factor = factors[(offset - row) % 4]
                byte = state[column + offset]
                value ^= byte if factor == 1 else PRODUCTS[factor][byte]
            mixed.append(value)
    return mixed


class AES:
    """AES-128, one block at a time."""

    def __init__(self, key):
        words = [list(key[start : start + 4]) for start in range(0, 16, 4)]
        constant = 1
        for index in range(4, 44):
            word = list(words[-1])
            if index % 4 == 0:
                word = [SUBSTITUTE[byte] for byte in word[1:] + word[:1]]
                word[0] ^= constant
                constant = _double(constant)
            words.append([a ^ b for a, b in zip(words[-4], word)])
        self.round_keys = [sum(words[4 * turn : 4 * turn + 4], []) for turn in range(11)]

    def encrypt(self, block):
        state = xor(block, self.round_keys[0])
        for turn in range(1, 11):
            state = [SUBSTITUTE[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
            if turn < 10:
                state = _mix(state, (2, 3, 1, 1))
            state = xor(state, self.round_keys[turn])
        return bytes(state)

    def decrypt(self, block):
        state = xor(block, self.round_keys[10])
        for turn in range(9, -1, -1):
            state = [RESTORE[state[(i - 4 * (i % 4)) % 16]] for i in range(16)]
            state = xor(state, self.round_keys[turn])
            if turn:
                state = _mix(state, (14, 11, 13, 9))
        return bytes(state)


def xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right))


def _complement(block):
    return bytes(~byte & 0xFF for byte in block)


class Session:
    """One secure channel, as either end sees it."""

    def __init__(self, scbk, rnd_a, rnd_b):
        def derive(tag):
            return AES(AES(scbk).encrypt(bytes.fromhex(tag) + rnd_a[:6] + bytes(8)))

        self.s_enc, self.s_mac1, self.s_mac2 = derive("0182"), derive("0101"), derive("0102")
        self.client_cryptogram = self.s_enc.encrypt(rnd_a + rnd_b)
        self.server_cryptogram = self.s_enc.encrypt(rnd_b + rnd_a)
        self.reply_mac = self.s_mac2.encrypt(self.s_mac1.encrypt(self.server_cryptogram))
        self.command_mac = bytes(16)

    def mac(self, iv, message):
        """Returns the full MAC of a message."""
        if len(message) % 16:
            message = message + b"\x80" + bytes(-(len(message) + 1) % 16)
        for start in range(0, len(message), 16):
            key = self.s_mac2 if start + 16 == len(message) else self.s_mac1
            iv = key.encrypt(xor(iv, message[start : start + 16]))
        return iv

    def encrypt(self, iv, data):
        """Encrypts data under the other side's last MAC."""
        data = data + b"\x80" + bytes(-(len(data) + 1) % 16)
        previous, sealed = _complement(iv), b""
        for start in range(0, len(data), 16):
            previous = self.s_enc.encrypt(xor(previous, data[start : start + 16]))
            sealed += previous
        return sealed

    def decrypt(self, iv, data):
        """Reverses `encrypt`."""
        previous, opened = _complement(iv), b""
        for start in range(0, len(data), 16):
            block = data[start : start + 16]
            opened += xor(previous, self.s_enc.decrypt(block))
            previous = block
        return opened.rstrip(b"\0")[:-1]

    def open_command(self, command):
        """Returns whether the command's MAC is right, and its data; a right one moves the chain on."""
        data = command.data
        if command.security[1] in (0x17, 0x18) and data:
            data = self.decrypt(self.reply_mac, data)
        full = self.mac(self.reply_mac, command.raw[:-6])
        right = full[:4] == command.raw[-6:-2]
        if right:
            self.command_mac = full
        return right, data


class Frame:
    """A frame, taken apart."""

    def __init__(self, raw):
        self.raw = raw
        self.address = raw[1] & 0x7F
        self.is_reply = bool(raw[1] & 0x80)
        self.sequence = raw[4] & 3
        position = 5
        self.security = b""
        if raw[4] & 8:
            self.security = raw[position : position + raw[position]]
            position += raw[position]
        self.code = raw[position]
        trailer = 2 + (4 if self.sealed else 0)
        self.data = raw[position + 1 : len(raw) - trailer]

    @property
    def sealed(self):
        """Whether it belongs to a secure channel that is up."""
        return bool(self.security) and self.security[1] >= 0x15


def build_reply(address, sequence, code, data=b"", security=b"", mac=None):
    """Builds a reply. `mac`: a function of the bytes before it that returns four."""
    length = 6 + len(security) + len(data) + (4 if mac else 0) + 2
    control = 4 | (8 if security else 0) | sequence
    body = bytes([START, address | 0x80]) + length.to_bytes(2, "little") + bytes([control])
    body += security + bytes([code]) + data
    if mac:
        body += mac(body)
    return body + crc(body).to_bytes(2, "little")


class Panel:
    """A panel on its end of a line, a file descriptor.

    `key` is its SCBK; without one it knows only SCBK-D. With `refuses_default` it refuses SCBK-D, as an installed panel
    does. `behave(panel, command, data)` may change an answer: `(code, data)` to be sent as the link has it, one frame
    as bytes (repeated when the command is), a list of frames (sent once), False for silence, or None for the honest
    answer. `tell(what, **words)` hears what happens.
    """

    TURNAROUND = 0.002

    def __init__(self, line, address, key, serial, tell, refuses_default=False):
        self.line = line
        self.address = address
        self.key = key
        self.serial = serial
        self.tell = tell
        self.refuses_default = refuses_default
        self.behave = None
        self.capabilities = CAPABILITIES
        self.inputs = bytes(4)
        self.readers = bytes(1)
        self.waiting = []
        self.session = None
        self.secure = False
        self.by_default = False
        self.forgets_keys = False
        self.polls = 0
        self.last = None
        threading.Thread(target=self._run, daemon=True).start()

    def swap(self, key, serial, refuses_default):
        """Becomes another panel, which has just been switched on and is honest."""
        self.key, self.serial, self.refuses_default = key, serial, refuses_default
        self.behave = self.session = self.last = None
        self.secure = self.forgets_keys = False
        self.waiting = []

    def _run(self):
        buffer = bytearray()
        while True:
            select.select([self.line], [], [])
            buffer += os.read(self.line, 4096)
            for raw in take_frames(buffer):
                command = Frame(raw)
                if not command.is_reply and command.address in (self.address, 0x7F):
                    time.sleep(self.TURNAROUND)
                    self._handle(command)

    def _handle(self, command):
        if self.last and self.last[0] == command.raw:
            self._send(self.last[1])
            return
        data = command.data
        if command.sealed:
            right, data = self.session.open_command(command) if self.session else (False, b"")
            if not right:
                self._say(command, NAK, b"\x06", plain=True)
                return
        elif command.sequence == 0:
            self.session = None
            self.secure = False
        self._tell_command(command, data)
        changed = self.behave(self, command, data) if self.behave else None
        if changed is None:
            self._answer(command, data)
        elif changed is False:
            self.last = None
        elif isinstance(changed, bytes):
            self._send_lasting(command, changed)
        elif isinstance(changed, list):
            self.last = None
            for frame in changed:
                self._send(frame)
        else:
            self._say(command, *changed)

    def _tell_command(self, command, data):
        if command.code == POLL:
            self.polls += 1
            if not (command.sealed and self.by_default):
                return
        words = {"code": command.code, "data": data.hex(), "sealed": command.sealed}
        if command.code == CHLNG:
            words["key"] = "default" if command.security[2] == 0 else "own"
        self.tell("command", **words)

    def _answer(self, command, data):
        if command.code == ID:
            serial = self.serial.to_bytes(4, "little")
            self._say(command, PDID, b"\x5a\xd9\x0e\x01\x01" + serial + b"\x01\x02\x03")
        elif command.code == CAP:
            self._say(command, PDCAP, self.capabilities)
        elif command.code == CHLNG:
            self._challenged(command, data)
        elif command.code == SCRYPT:
            self._proven(command, data)
        elif command.code == KEYSET:
            if not self.forgets_keys:
                self.key = data[2:18]
            self._say(command, ACK)
        elif command.code == POLL and self.waiting:
            self._say(command, *self.waiting.pop(0))
        elif command.code == LSTAT:
            self._say(command, LSTATR, bytes(2))
        elif command.code == ISTAT:
            self._say(command, ISTATR, self.inputs)
        elif command.code == OSTAT:
            self._say(command, OSTATR, bytes(2))
        elif command.code == RSTAT:
            self._say(command, RSTATR, self.readers)
        else:
            self._say(command, ACK)

    def _challenged(self, command, rnd_a):
        is_default = command.security[2] == 0
        if is_default and self.refuses_default:
            self._say(command, NAK, b"\x06", plain=True)
            return
        key = SCBK_D if is_default else self.key or os.urandom(16)
        self.by_default = is_default
        rnd_b = os.urandom(8)
        self.session = Session(key, rnd_a, rnd_b)
        data = b"\0\x17\x03\0\xca\xfe\xde\xd0" + rnd_b + self.session.client_cryptogram
        security = bytes([3, 0x12, command.security[2]])
        self._send_lasting(command, build_reply(self.address, command.sequence, CCRYPT, data, security))

    def _proven(self, command, cryptogram):
        self.secure = bool(self.session) and cryptogram == self.session.server_cryptogram
        mac = self.session.reply_mac if self.session else bytes(16)
        security = bytes([3, 0x14, 1 if self.secure else 0xFF])
        if self.secure:
            self.tell("secure", key="default" if command.security[2] == 0 else "own")
        self._send_lasting(command, build_reply(self.address, command.sequence, RMAC_I, mac, security))

    def sealed(self, command, code, data=b"", kind=None):
        """Builds a reply in the secure channel. `kind`: the type of its security block, 0x16 for a MAC alone."""
        session = self.session
        kind = kind or (0x18 if data else 0x16)
        if kind == 0x18 and data:
            data = session.encrypt(session.command_mac, data)

        def mac(body):
            session.reply_mac = session.mac(session.command_mac, body)
            return session.reply_mac[:4]

        return build_reply(self.address, command.sequence, code, data, bytes([2, kind]), mac)

    def guessed(self, command, code=ACK):
        """Builds a reply whose MAC is a guess."""
        security = bytes([2, 0x16])
        return build_reply(self.address, command.sequence, code, b"", security, lambda _: os.urandom(4))

    def plain(self, command, code, data=b""):
        """Builds a reply in plaintext."""
        return build_reply(self.address, command.sequence, code, data)

    def _say(self, command, code, data=b"", plain=False):
        sealed = self.secure and not plain
        reply = self.sealed(command, code, data) if sealed else self.plain(command, code, data)
        self._send_lasting(command, reply)

    def _send_lasting(self, command, reply):
        self.last = (command.raw, reply)
        self._send(reply)

    def _send(self, reply):
        os.write(self.line, MARK + reply)
