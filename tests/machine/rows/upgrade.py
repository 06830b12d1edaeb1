"""From version 0.1, installed by hand, and back; from version to version, and what may go wrong on the way."""

import subprocess

from building import CONFIG, PORT, SERVICE, STATE, Building, make_newer, repacked, with_one_setting_less
from machine import ROOT, Seen

VERSION_0_1 = "33df64597c267c0c5ac2714adb477538d8160981"
PREVIOUS = "/usr/lib/intercom-gateway/previous"
DROPIN = f"/etc/systemd/system/{SERVICE}.service.d/50-previous-version.conf"
UNIT = f"/etc/systemd/system/{SERVICE}.service"
RULES = "/etc/udev/rules.d/99-intercom-gateway.rules"
# What version 0.1's README writes into the configuration.
DOOR = f"""[[intercom]]
id = 1

[[bus]]
name = "street"
port = "{PORT}"
protocol = "osdp"
baud = 9600

[[panel]]
name = "entrance-1"
intercom = 1
bus = "street"
address = 0
lock = {{ output = 0, open = "3s" }}
secure_channel = "install"
"""


def from_0_1(judge, asked):
    """The way from version 0.1's README, and back."""
    with Building("upgrade", asked.deb) as building:
        machine, panel = building.machine, building.panel
        building.boot()
        with judge.row("0.1 by hand, as its README says: a door opens", machine):
            _by_hand(machine, asked.old)
            machine.write(CONFIG, DOOR)
            machine.must(f"systemctl daemon-reload && systemctl enable --now {SERVICE}")
            building.give_flats()
            building.opens()
            machine.must(f"test -L {STATE}")
        building.token = machine.must("intercom-gateway token add machine").split()[-1]
        journal = building.journal()
        with judge.row("the package over it: the same card opens, data and all", machine) as notes:
            said = building.install()
            building.opens()
            assert panel.keys_taken() == 1, "the panel got another key"
            assert building.journal() == journal, "another journal"
            machine.must(f"test ! -L {STATE} && test -d {STATE} && getent --service=files passwd {SERVICE}")
            assert not building.foreign_files(), building.foreign_files()
            # A message of a reason is for a token alone: the token is known still.
            assert all(sentence for _, sentence, _ in building.reasons()), building.reasons()
            notes.append("said: " + (_ours(said) or "nothing"))
        with judge.row("its unit and rules are moved to .dpkg-old, the package's count", machine):
            for file in (UNIT, RULES):
                machine.must(f"test ! -e {file} && test -e {file}.dpkg-old")
            unit = machine.unit("FragmentPath")
            assert unit == f"/usr/lib/systemd/system/{SERVICE}.service", unit
            machine.must(f"systemctl is-enabled {SERVICE} && test ! -e {DROPIN}")
            assert machine.must(f"cat {CONFIG}") == DOOR, "the configuration was changed"
        with judge.row("after a power cut the same card opens", machine):
            machine.reboot_after_power_cut()
            building.opens()
        with judge.row("back to 0.1 by hand: the same card opens, and no panel was visited", machine):
            machine.must("apt-get remove --yes --quiet=2 intercom-gateway")
            _by_hand(machine, asked.old)
            machine.must(f"systemctl daemon-reload && systemctl enable --now {SERVICE}")
            building.running()
            building.opens()
            assert panel.keys_taken() == 1, "the panel got another key"
        with judge.row("forward again over a unit that was changed: it is named, the door opens", machine):
            machine.must(f"sed -i 's,^TimeoutStopSec=.*,TimeoutStopSec=20,' {UNIT}")
            said = building.install()
            assert UNIT in said and "changed by hand" in said, _ours(said)
            machine.must(f"test -e {UNIT}")
            building.opens()
        with judge.row("without it, as it said, the package's unit counts and the door opens", machine):
            machine.must(f"systemctl stop {SERVICE} && rm {UNIT} && systemctl daemon-reload")
            machine.must(f"systemctl start {SERVICE}")
            building.opens()
            assert panel.keys_taken() == 1, "the panel got another key"
            assert not building.foreign_files(), building.foreign_files()


def between_versions(judge, asked):
    """A configuration that is refused, another architecture, an older package over newer data."""
    with Building("versions", asked.deb) as building:
        machine = building.machine
        building.serve()
        less = with_one_setting_less("feedback", "feedbakk")
        stricter = repacked(asked.deb, "stricter", less, Version="0.2.1~stricter-1")
        newer = repacked(asked.deb, "newer", lambda _: None, Version="0.2.2~newer-1")
        program = lambda: machine.must(f"readlink /proc/{machine.unit('MainPID')}/exe").strip()  # noqa: E731
        try:
            with judge.row("a refused configuration: the old version goes on, as one line says", machine) as notes:
                machine.must(f"sed -i 's,^# feedback = true,feedback = true,' {CONFIG}")
                machine.must(f"intercom-gateway check && systemctl restart {SERVICE}")
                said = building.install(stricter)
                lines = [line for line in said.splitlines() if line.startswith("intercom-gateway: ")]
                assert len(lines) == 1 and CONFIG in lines[0] and "choose-version" in lines[0], said
                machine.fails("intercom-gateway check", "feedback", status=2)
                assert program() == PREVIOUS, program()
                building.opens()
                assert machine.must(f"dpkg-query --show --showformat '${{db:Status-Status}}' {SERVICE}") == "installed"
                notes.append(lines[0])
            with judge.row("and after a power cut", machine):
                machine.reboot_after_power_cut()
                building.opens()
                assert program() == PREVIOUS, program()
            with judge.row("corrected as the line says: the new version runs", machine):
                machine.must(f"sed -i 's,^feedback = true,# feedback = true,' {CONFIG}")
                machine.must("/usr/lib/intercom-gateway/choose-version")
                building.running()
                assert program() == "/usr/bin/intercom-gateway", program()
                machine.must(f"test ! -e {DROPIN}")
                building.opens()
            with judge.row("a package of another architecture is refused, and the door opens", machine):
                own = machine.must("dpkg --print-architecture").strip()
                other = "arm64" if own == "amd64" else "amd64"
                foreign = repacked(asked.deb, "foreign", lambda _: None, Architecture=other, Version="0.2.3-1")
                machine.copy(foreign, "/root/foreign.deb")
                foreign.unlink()
                machine.fails("dpkg --install /root/foreign.deb 2>&1", "does not match system")
                machine.fails("apt-get install --yes /root/foreign.deb 2>&1", other)
                building.opens()
                assert program() == "/usr/bin/intercom-gateway", program()
            with judge.row("an upgrade while the door is in use: the same card opens", machine):
                building.install(newer)
                building.opens()
                machine.must(f"test ! -e {DROPIN}")
            with judge.row("an older package over the data of a newer version: the same card opens", machine) as notes:
                machine.must(f"systemctl stop {SERVICE}")
                for database in ("cache.db", "journal.db"):
                    make_newer(machine.root / STATE.lstrip("/") / database)
                machine.must(f"chown -R {SERVICE}: {STATE}")
                building.install(asked.deb, "--allow-downgrades")
                building.opens()
                assert building.panel.keys_taken() == 1, "the panel got another key"
                notes.append(f"health: {', '.join(sorted({code for code, _, _ in building.reasons()}))}")
        finally:
            stricter.unlink()
            newer.unlink()


def full_disk(judge, asked):
    """The disk becomes full in the middle of an upgrade, at different places."""
    newer = repacked(asked.deb, "fuller", lambda _: None, Version="0.2.2~newer-1")
    try:
        with Building("full", asked.deb, disk="640m") as building:
            machine = building.machine
            building.serve()
            machine.copy(newer, "/root/newer.deb", 0o644)
            for left in (0, 4, 13, 20):
                with judge.row(f"{left} MB left for an upgrade: the door opens, and after a cut", machine) as notes:
                    _fill(machine, left)
                    result = machine.run("apt-get install --yes --quiet=2 /root/newer.deb", seconds=300)
                    notes.append(f"apt ended with {result.returncode}")
                    building.opens()
                    machine.reboot_after_power_cut()
                    building.opens()
                    assert building.panel.keys_taken() == 1, "the panel got another key"
                machine.must("rm /filled")
            with judge.row("with room again the upgrade succeeds", machine):
                machine.must("dpkg --configure --pending", seconds=300)
                machine.must("apt-get install --yes --quiet=2 /root/newer.deb", seconds=300)
                building.opens()
                machine.must(f"test ! -e {DROPIN}")
                # The configuration has been edited; nothing else has.
                changed = machine.must(f"dpkg --verify {SERVICE}").splitlines()
                assert changed == [line for line in changed if line.endswith(f" c {CONFIG}")], changed
    finally:
        newer.unlink()


def _fill(machine, left):
    free = int(machine.must("df --output=avail --block-size=1M / | tail -n 1"))
    if free < left + 1:
        raise Seen(f"only {free} MB are free")
    machine.run(f"head -c {(free - left) * 1024 * 1024} /dev/zero > /filled")


def _by_hand(machine, program):
    if not program.exists():
        raise Seen(f"version 0.1's program is not at {program}: ./check --machine builds it")
    machine.copy(program, "/usr/bin/intercom-gateway")
    for source, target in (("intercom-gateway.service", UNIT), ("99-intercom-gateway.rules", RULES)):
        text = subprocess.run(["git", "show", f"{VERSION_0_1}:systemd/{source}"], cwd=ROOT, check=True,
                              capture_output=True, text=True).stdout
        machine.write(target, text)


def _ours(said):
    return " / ".join(line for line in said.splitlines() if "intercom-gateway: " in line)
