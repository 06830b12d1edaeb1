#!/usr/bin/env python3
"""modbus_loop.py - the peer of the bench `lines`: pymodbus 3.16.1's client (PyPI) on a serial line.

usage: modbus_loop.py --port DEV --baud N --panels N --lines N --timeout MS

Reads input registers 0 … N-1 of the panels at addresses 1 … N, one after the other, again and again, as a script
would. At once on a register that differs from the last reading, it prints

    line PANEL LINE NANOSECONDS RAW

with the time on CLOCK_MONOTONIC; LINE counts from 1. Ends when stdin does.
"""
import argparse, os, select, sys, time
from pymodbus import FramerType, ModbusException
from pymodbus.client import ModbusSerialClient


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", required=True)
    parser.add_argument("--baud", type=int, required=True)
    parser.add_argument("--panels", type=int, required=True)
    parser.add_argument("--lines", type=int, required=True)
    parser.add_argument("--timeout", type=float, required=True)
    arguments = parser.parse_args()
    try:  # ahead of ordinary threads, as the gateway's bus is
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pass
    client = ModbusSerialClient(
        arguments.port,
        framer=FramerType.RTU,
        baudrate=arguments.baud,
        timeout=arguments.timeout / 1000,
        retries=0,
    )
    known = {}
    while not select.select([0], [], [], 0)[0] or os.read(0, 1024):
        for panel in range(1, arguments.panels + 1):
            try:
                if not client.connected:  # it closes the port after a timeout
                    client.connect()
                answer = client.read_input_registers(0, count=arguments.lines, device_id=panel)
            except ModbusException:
                continue
            if answer.isError():
                continue
            now = time.monotonic_ns()
            for line, raw in enumerate(answer.registers, 1):
                if known.get((panel, line), raw) != raw:
                    print("line", panel, line, now, raw, flush=True)
                known[panel, line] = raw


if __name__ == "__main__":
    sys.exit(main())
