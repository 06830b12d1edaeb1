"""A configuration that changes while doors are in use: `reload`, and `apply` with a trial."""

import contextlib
import time

from building import CARD, CONFIG, SECRETS, SERVICE, STATE, YARD, Building
from machine import Seen, wait
from panels import Line, Panel

TRIAL = "/root/trial.toml"
SECOND_PORT = "/dev/ttyS8"
SECOND = YARD.format(port=SECOND_PORT)


def rows(judge, asked):
    with Building("reload", asked.deb) as building:
        with Line(building.machine, SECOND_PORT) as line, Panel(line) as second:
            building.serve()
            _reload(judge, building, second)
            _trial(judge, building, second)


def _reload(judge, building, second):
    machine = building.machine
    process = machine.unit("MainPID")
    opened = _log(building).count("port is open bus=street")

    def untouched():
        assert machine.unit("MainPID") == process, "the daemon has been restarted"
        assert _log(building).count("port is open bus=street") == opened, "the first bus was opened again"

    with judge.row("nothing has changed: reload succeeds and touches nothing", machine):
        machine.must("intercom-gateway reload")
        building.opens()
        untouched()
    with judge.row("a second door: `reload` names it, it opens; the first bus is untouched", machine) as notes:
        machine.must(f"cat >> {CONFIG}", stdin=SECOND)
        said = machine.must("intercom-gateway reload")
        assert "yard" in said and "entrance-2" in said, said
        notes.append(said.strip().replace("\n", " / "))
        second.opens(CARD)
        building.opens()
        untouched()
    with judge.row("a setting changed: `systemctl reload` applies it", machine):
        machine.must(f"sed -i 's,^# feedback = true,feedback = false,' {CONFIG}")
        machine.must(f"systemctl reload {SERVICE}")
        building.opens()
        untouched()
    with judge.row("a mistake: reload names it, exit status 2, and everything goes on", machine):
        with _put_back(machine):
            machine.must(f"echo 'nonsense = 1' >> {CONFIG}")
            machine.fails("intercom-gateway reload 2>&1", "nonsense", status=2)
            machine.fails(f"systemctl reload {SERVICE} 2>&1", "failed")
            building.opens()
            second.opens(CARD)
            untouched()
    with judge.row("a new secret: reload asks for a restart, exit status 1; then it is in use", machine) as notes:
        # The key that the panel has, in a file instead of the state: with another one no link would come about.
        machine.must(f"grep -oE '[0-9a-f]{{32}}' {STATE}/panels/entrance-1.json | head -n 1"
                     f" | install -m 600 /dev/stdin {SECRETS}/entrance-1")
        machine.must(f"sed -i '0,/^# secure_key_file/s,^# secure_key_file,secure_key_file,' {CONFIG}")
        notes.append(machine.fails("intercom-gateway reload 2>&1", "restart", status=1).strip().replace("\n", " / "))
        building.opens()
        untouched()
        machine.must(f"systemctl restart {SERVICE} && rm {STATE}/panels/entrance-1.json")
        building.opens()
        machine.must("intercom-gateway reload")
        assert building.panel.keys_taken() == 1, "the panel got another key"
    with judge.row("a setting that needs a restart: reload says so, exit status 1, the rest is applied", machine):
        machine.must(f"sed -i 's,^# keep_days = 30,keep_days = 31,' {CONFIG}")
        machine.fails("intercom-gateway reload 2>&1", "keep_days", status=1)
        building.opens()
        machine.must(f"systemctl restart {SERVICE}")
        building.opens()


def _log(building):
    return building.machine.must(f"journalctl --unit {SERVICE} --output cat --no-pager")


@contextlib.contextmanager
def _put_back(machine):
    """What a row does to the configuration is not the next one's trouble."""
    good = machine.must(f"cat {CONFIG}")
    try:
        yield
    finally:
        machine.write(CONFIG, good)


def _trial(judge, building, second):
    machine = building.machine

    def without_second():
        return "entrance-2" not in machine.fetch(
            "https://127.0.0.1:8443/api/local/v1/panels", f"Authorization: Bearer {building.token}")

    # The trial takes the second door away, so that its absence shows which configuration is in force.
    machine.must(f"awk '/^name = \"yard\"/ {{ exit }} {{ print }}' {CONFIG} | head -n -1 > {TRIAL}")
    written = machine.must(f"cat {CONFIG}")

    def as_before():
        wait("the old configuration is in force", lambda: not without_second() and building.answers(), 90)
        assert machine.must(f"cat {CONFIG}") == written, "the file was changed"
        building.opens()
        second.opens(CARD)

    def under_trial(time_):
        machine.must(f"intercom-gateway apply {TRIAL} --trial {time_}", seconds=30)
        wait("the trial is in force", lambda: building.answers() and without_second(), 30)
        assert machine.must(f"cat {CONFIG}") == written, "the file was changed"

    with judge.row("a trial: in force, the file untouched; aborted: as before", machine):
        under_trial("5m")
        building.opens()
        machine.must("intercom-gateway apply --abort")
        as_before()
    with judge.row("a trial that nobody confirms ends by itself", machine):
        under_trial("20s")
        began = time.monotonic()
        as_before()
        if time.monotonic() - began < 10:
            raise Seen("it ended too early")
    with judge.row("a trial whose power is cut comes back with the old configuration", machine):
        under_trial("5m")
        machine.reboot_after_power_cut()
        as_before()
    with judge.row("a trial that is killed (-9) comes back with the old configuration", machine):
        under_trial("5m")
        machine.must(f"kill -KILL {machine.unit('MainPID')}")
        as_before()
    with judge.row("a trial that takes a panel away that was online is undone at once", machine):
        machine.must(f"sed 's,{building.line.device},/dev/nothing,' {CONFIG} > /root/wrong.toml")
        machine.must("intercom-gateway apply /root/wrong.toml --trial 5m", seconds=30)
        building.health_says("bus", "street", 20)
        as_before()
    with judge.row("an ordinary user cannot confirm, and is told why", machine):
        under_trial("5m")
        said = machine.run("intercom-gateway apply --confirm", user="anna")
        assert said.returncode != 0 and ("root" in said.stderr or "sudo" in said.stderr), said.stderr
        assert machine.must(f"cat {CONFIG}") == written, "the file was changed"
    with judge.row("confirmed as root: written, and in force after a power cut", machine):
        machine.must("intercom-gateway apply --confirm")
        assert machine.must(f"cat {CONFIG}") == machine.must(f"cat {TRIAL}"), "another file was written"
        machine.reboot_after_power_cut()
        building.opens()
        assert without_second()
