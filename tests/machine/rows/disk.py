"""A full disk, a read-only one, a clock that nobody has set: doors open all the same."""

import subprocess

from building import SERVICE, STATE, Building
from machine import wait

SYNCHRONIZED = "/run/systemd/timesync/synchronized"


def rows(judge, asked):
    with Building("disk", asked.deb) as building:
        machine = building.machine
        # A disk of its own, small enough to be filled.
        disk = machine.add_disk(STATE, "48m")
        building.serve()
        with judge.row("the disk is full: the card opens, and health says storage", machine):
            _fill(machine)
            building.opens()
            building.health_says("storage")
        with judge.row("the disk is full: systemd's status says so", machine) as notes:
            wait("the status names the disk", lambda: "disk" in machine.unit("StatusText"), 60)
            notes.append(machine.unit("StatusText"))
        with judge.row("started with a full disk: the card opens", machine):
            machine.must(f"systemctl restart {SERVICE}")
            building.opens()
        with judge.row("with room again: health is without storage, and the journal has what happened", machine):
            machine.must(f"rm {STATE}/filled")
            before = len(building.events("intercom.door.unlocked"))
            building.opens()
            wait("the door's event is in the journal",
                 lambda: len(building.events("intercom.door.unlocked")) > before, 60)
            building.health_is_without("storage", 700)
        with judge.row("the disk becomes read-only: the card opens, and health says storage", machine):
            # What ext4 does by itself where it finds an error.
            subprocess.run(["mount", "-o", "remount,abort", disk], check=True)
            machine.fails(f"touch {STATE}/probe", "Read-only")
            building.opens()
            building.health_says("storage")
        with judge.row("started with a read-only disk: the card opens", machine):
            machine.must(f"systemctl restart {SERVICE}")
            building.opens()
            assert building.panel.keys_taken() == 1, "the panel got another key"
    with Building("clock", asked.deb) as building:
        machine = building.machine
        building.serve()
        with judge.row("nobody has set the clock: health says clock, and the card opens", machine):
            machine.run(f"rm -f {SYNCHRONIZED}")
            building.health_says("clock")
            building.opens()
            assert building.events("intercom.key.swiped")[-1]["data"]["clock"] == "unsynchronized"
        with judge.row("systemd-timesyncd has set it: health is without clock, and events say so", machine):
            machine.must(f"mkdir -p {SYNCHRONIZED.rsplit('/', 1)[0]} && touch {SYNCHRONIZED}")
            building.health_is_without("clock")
            building.opens()
            assert building.events("intercom.key.swiped")[-1]["data"]["clock"] == "synchronized"


def _fill(machine):
    machine.run(f"head -c 64M /dev/zero > {STATE}/filled")
