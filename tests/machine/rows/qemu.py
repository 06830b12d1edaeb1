"""On a machine with a kernel of its own: UART and FTDI, a plug that is pulled, power cuts around the commit window."""

import time

from building import CARD, CONFIG, SERVICE, YARD, Building
from emulated import KINDS, SERIAL, Emulated
from machine import Seen, wait
from panels import Line, Panel

# The journal commits 25 ms after the first event that waits, on a slow disk somewhat later.
WINDOW = 0.025


def rows(judge, asked):
    emulated = Emulated("qemu", asked.architecture)
    with Building("qemu", asked.deb, machine=emulated, port=KINDS[asked.architecture].uart) as building:
        with Line(building.machine, "usb") as adapter, Panel(adapter) as second:
            _rows(judge, building, second)


def _rows(judge, building, second):
    machine = building.machine
    with judge.row("it boots with a kernel of its own") as notes:
        building.boot()
        notes.append(machine.must("uname --kernel-release --machine").strip())
    with judge.row("the package installs, and the panel at the UART is paired; the card opens", machine):
        building.install()
        building.configure('s,^reply_timeout = .*,reply_timeout = "1s",')
        machine.must(f"systemctl restart {SERVICE}")
        building.give_flats()
        building.opens(seconds=180)
        building.token = machine.must("intercom-gateway token add machine").split()[-1]

    def names():
        return machine.run(f"ls /dev/serial/by-id/*{SERIAL}*").stdout.split()

    port = ""
    with judge.row("the FTDI adapter has a name by its number, and answers without delay", machine) as notes:
        port = wait("its name", names, 60)[0]
        notes.append(port)
        tty = machine.must(f"basename $(readlink -f {port})").strip()
        assert machine.must(f"cat /sys/bus/usb-serial/devices/{tty}/latency_timer").strip() == "1"
        assert machine.must(f"readlink /sys/bus/usb-serial/devices/{tty}/driver").strip().endswith("ftdi_sio")
        assert machine.must(f"stat --dereference --format %G {port}").strip() == "dialout"
    with judge.row("the panel at the FTDI adapter is paired, and the card opens", machine):
        machine.must(f"cat >> {CONFIG}", stdin=YARD.format(port=port))
        machine.must(f"intercom-gateway check && systemctl restart {SERVICE}")
        second.opens(CARD, 180)
        building.opens(seconds=180)
    with judge.row("the adapter is unplugged: health says so, and the other door opens", machine):
        machine.unplug()
        building.health_says("bus", "yard", 120)
        building.opens(seconds=120)
    with judge.row("plugged in again: its door opens", machine):
        machine.plug()
        second.opens(CARD, 180)
        building.health_is_without("bus", 120)
    with judge.row("its driver is loaded after the service's start: its door opens", machine):
        machine.unplug()
        building.health_says("bus", "yard", 120)
        machine.must(f"modprobe --remove ftdi_sio usbserial && systemctl restart {SERVICE}")
        building.opens(seconds=180)
        machine.plug()
        building.health_is_without("bus", 120)
        second.opens(CARD, 180)
    last = 0
    with judge.row("a power cut outside of the commit window: nothing is lost, both doors open", machine):
        last = _unlocks(building)
        building.opens(seconds=120)
        time.sleep(5)
        machine.reboot_after_power_cut()
        building.opens(seconds=180)
        second.opens(CARD, 180)
        wait("the unlock before the cut is in the journal", lambda: _unlocks(building) > last + 1, 120)
    for number in range(2):
        with judge.row(f"a power cut inside of it ({number + 1}): the journal is whole, the door opens", machine):
            told = [event["id"] for event in building.events()]
            building.opens(seconds=180)
            time.sleep(WINDOW * number / 2)
            machine.reboot_after_power_cut()
            building.opens(seconds=180)
            now = [event["id"] for event in building.events()]
            if now[: len(told)] != told:
                raise Seen(f"the journal has lost {sorted(set(told) - set(now))}")
            sequences = [int(event["sequence"]) for event in building.events()]
            assert sequences == list(range(1, len(sequences) + 1)), "there is a gap"
            assert building.panel.keys_taken() == second.keys_taken() == 1, "a panel got another key"


def _unlocks(building):
    return len(building.events("intercom.door.unlocked"))
