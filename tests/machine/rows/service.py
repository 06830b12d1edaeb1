"""What systemd does to the service, and what happens to it."""

import time

from building import SERVICE, Building
from machine import Seen, wait


def rows(judge, asked):
    with Building("service", asked.deb) as building:
        machine, panel = building.machine, building.panel
        building.serve()

        def process():
            return machine.unit("MainPID")

        def opens_again(before):
            wait("another process serves", lambda: process() not in ("0", before) and building.answers(), 90)
            building.opens()
            assert panel.keys_taken() == 1, "the panel got another key"

        with judge.row("stop: it ends in order within 15 s", machine):
            machine.must(f"systemctl stop {SERVICE}", seconds=15)
            assert machine.unit("Result") == "success", machine.unit("Result")
            assert building.events("gateway.stopping"), "no gateway.stopping in the journal"
        with judge.row("start: the same card opens", machine):
            machine.must(f"systemctl start {SERVICE}")
            opens_again("0")
        with judge.row("restart: the same card opens", machine):
            before = process()
            machine.must(f"systemctl restart {SERVICE}")
            opens_again(before)
        with judge.row("kill -9: it comes back by itself", machine):
            before = process()
            machine.must(f"kill -KILL {before}")
            opens_again(before)
        with judge.row("SIGSTOP: the watchdog ends it, and it comes back", machine):
            before = process()
            machine.must(f"kill -STOP {before}")
            began = time.monotonic()
            wait("the watchdog ends it", lambda: process() != before, 90)
            if time.monotonic() - began < 10:
                raise Seen("it ended before the watchdog could have done so")
            opens_again(before)
            assert "watchdog" in machine.must(f"journalctl --unit {SERVICE} --output cat").lower()
        with judge.row("a power cut: it serves after the boot", machine):
            machine.reboot_after_power_cut()
            opens_again("0")
        with judge.row("power off and on in order: it serves after the boot", machine):
            machine.shut_down()
            machine.boot()
            opens_again("0")
        with judge.row("its status names what it serves", machine):
            wait("the status", lambda: "1 of 1 panels online" in machine.unit("StatusText"), 30)
        with judge.row("the plug of the line is pulled and put back", machine):
            building.line.detach()
            building.health_says("bus", "street")
            building.line.attach(machine)
            building.health_is_without("bus")
            building.opens()
