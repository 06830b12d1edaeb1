#!/usr/bin/env python3
"""modbus_panels.py - independent Modbus RTU panels for interop tests, on pymodbus 3.16.1 (PyPI).

N panels on one serial line/PTY, each with 1024 coils, discrete inputs, holding and input registers, all 0. stdin: one
command a line; stdout: one JSON object a line.
  set ID coil|discrete|holding|input ADDRESS VALUE [VALUE...]
  get ID coil|discrete|holding|input ADDRESS COUNT
  text ID ADDRESS LENGTH TEXT    holding registers, two characters each
  card ID HEX                    a code of 7 bytes for the queue of config/profiles/door-panel.toml: input 400 counts
                                 those that wait, 401-404 are the first; coil 410 written 1 takes it off
  gone ID on|off                 neither hears nor speaks
  quit
Whatever is written over the line is told: {"ev": "write", "id", "kind", "address", "values"}.
"""
import argparse
import asyncio
import json
import sys

from pymodbus import FramerType
from pymodbus.exceptions import NoSuchIdException
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice
from pymodbus.simulator.simcore import SimCore

CODES = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
WRITES = {5: "coil", 6: "holding", 15: "coil", 16: "holding"}
SIZE = 1024
COUNT, CODE, NEXT = 400, 401, 410

gone = set()


def _device(self, unit):
    """3.16.1 answers an unknown id with exception 04 even when told to ignore it."""
    if unit not in self.devices or unit in gone:
        raise NoSuchIdException()
    return self.devices[unit]


SimCore._SimCore__get_device = _device


def emit(**words):
    print(json.dumps(words), flush=True)


class Panel:
    """One device with its queue of cards."""

    def __init__(self, unit):
        self.unit = unit
        self.cards = []
        self.server = None
        bits, words = DataType.BITS, DataType.REGISTERS
        self.device = SimDevice(
            id=unit,
            simdata=(
                [SimData(0, values=[False] * SIZE, datatype=bits)],
                [SimData(0, values=[False] * SIZE, datatype=bits)],
                [SimData(0, values=[0] * SIZE, datatype=words)],
                [SimData(0, values=[0] * SIZE, datatype=words)],
            ),
            action=self.accessed,
        )

    async def accessed(self, function, _start, address, _count, _registers, values):
        """Called before every access; the console's own writes come by the codes of reads."""
        if values is None or function not in WRITES:
            return None
        kind = WRITES[function]
        emit(ev="write", id=self.unit, kind=kind, address=address, values=[int(value) for value in values])
        if kind == "coil" and address <= NEXT < address + len(values) and values[NEXT - address]:
            # The panel takes the card off, and the coil back.
            values[NEXT - address] = False
            del self.cards[:1]
            await self.show_cards()
        return None

    async def show_cards(self):
        first = self.cards[0] if self.cards else 0
        words = [len(self.cards)] + [(first >> shift) & 0xFFFF for shift in (48, 32, 16, 0)]
        await self.set("input", COUNT, words)

    async def set(self, kind, address, values):
        return await self.registers().async_setValues(CODES[kind], address, values)

    def registers(self):
        """Reached past the line: they are there while the panel is gone."""
        return self.server.context.devices[self.unit]

    async def obey(self, words):
        command, arguments = words[0], words[2:]
        if command == "set":
            kind, address, values = arguments[0], int(arguments[1]), [int(value) for value in arguments[2:]]
            values = [bool(value) for value in values] if CODES[kind] < 3 else values
            refusal = await self.set(kind, address, values)
            emit(ev="set", id=self.unit, kind=kind, address=address, refusal=refusal and str(refusal))
        elif command == "get":
            kind, address, count = arguments[0], int(arguments[1]), int(arguments[2])
            values = await self.registers().async_getValues(CODES[kind], address, count)
            emit(ev="get", id=self.unit, kind=kind, address=address, values=[int(value) for value in values])
        elif command == "text":
            address, length, text = int(arguments[0]), int(arguments[1]), " ".join(arguments[2:])
            padded = text.encode().ljust(length * 2, b"\0")
            words = [int.from_bytes(padded[i : i + 2], "big") for i in range(0, length * 2, 2)]
            await self.set("holding", address, words)
        elif command == "card":
            self.cards.append(int(arguments[0], 16))
            await self.show_cards()
        elif command == "gone":
            (gone.add if arguments[0] == "on" else gone.discard)(self.unit)
            emit(ev="gone", id=self.unit, gone=self.unit in gone)
        else:
            raise ValueError("unknown command")


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dev", required=True)
    parser.add_argument("--ids", default="1")
    parser.add_argument("--baud", type=int, default=19200)
    options = parser.parse_args()
    panels = {int(unit): Panel(int(unit)) for unit in options.ids.split(",")}
    server = ModbusSerialServer(
        [panel.device for panel in panels.values()],
        framer=FramerType.RTU,
        port=options.dev,
        baudrate=options.baud,
        parity="N",
        stopbits=1,
        bytesize=8,
        ignore_missing_devices=True,
        broadcast_enable=True,
    )
    for panel in panels.values():
        panel.server = server
    serving = asyncio.create_task(server.serve_forever())
    while server.transport is None and not serving.done():
        await asyncio.sleep(0.01)
    emit(ev="ready", ids=sorted(panels))
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        words = line.decode().split()
        if words == ["quit"]:
            break
        try:
            await panels[int(words[1])].obey(words)
        except Exception as error:  # a typing error must not end the panels
            emit(ev="error", msg=f"{type(error).__name__}: {error}", line=line.decode().strip())
    serving.cancel()


asyncio.run(main())
