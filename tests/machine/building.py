"""A building: a machine with the package on it, a line, and a panel at a door.

Invariants:
- What is edited on the machine is the file that the package has brought, as an installer edits it.
- Health is what the machine's own endpoint says.
"""

import contextlib
import json
import os
import pathlib
import shlex
import shutil
import sqlite3
import subprocess

from machine import PLACE, ROOT, Machine, Seen, wait
from panels import Line, Panel

CONFIG = "/etc/intercom-gateway/gateway.toml"
STATE = "/var/lib/intercom-gateway"
SECRETS = "/etc/intercom-gateway/secrets"
SERVICE = "intercom-gateway"
PORT = "/dev/ttyS9"
# A key of flat 1 in examples/demo/flats.json, and one that nobody has.
CARD, STRANGER = "3042CAAC", "0BADCA4D"
FLATS = ROOT / "examples/demo/flats.json"
ENDPOINT = "https://127.0.0.1:8443"
# A second door, at a port of its own.
YARD = """
[[bus]]
name = "yard"
port = "{port}"
protocol = "osdp"
reply_timeout = "1s"

[[panel]]
name = "entrance-2"
intercom = 1
bus = "yard"
address = 0
lock = {{ output = 0 }}
secure_channel = "install"
"""
APT = "apt-get install --yes --quiet=2 --option Dpkg::Options::=--force-confold"


class Building:
    """Makes a machine, and what is around it."""

    def __init__(self, name, deb, suite="trixie", disk=None, key=None, machine=None, port=PORT):
        self.deb = deb
        self.token = ""
        with contextlib.ExitStack() as made:
            self.machine = made.enter_context(machine or Machine(name, suite, disk))
            self.line = made.enter_context(Line(self.machine, port))
            self.panel = made.enter_context(Panel(self.line, key=key))
            self.made = made.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.made.close()

    def boot(self):
        """Boots the machine."""
        self.machine.boot()

    def install(self, deb=None, options=""):
        """Installs a package from a file, without a network; returns what was said."""
        deb = pathlib.Path(deb or self.deb)
        self.machine.copy(deb, f"/root/{deb.name}", 0o644)
        result = self.machine.run(f"{APT} {options} /root/{deb.name}", seconds=300)
        said = result.stdout + result.stderr
        if result.returncode != 0:
            raise Seen(f"apt ended with {result.returncode}: " + " / ".join(said.strip().splitlines()[-4:]))
        return said

    def configure(self, *edits):
        """Edits the shipped configuration: one entrance, one line, one new panel; and as sed is told beside that."""
        edits = ["s,^#\\([a-z[]\\),\\1,", f's,^port = .*,port = "{self.line.device}",',
                 # Room for a host that is busy.
                 's,^# reply_timeout = .*,reply_timeout = "500ms",', *edits]
        self.machine.must(f"sed -i {' '.join('-e ' + shlex.quote(edit) for edit in edits)} {CONFIG}")
        self.machine.must("intercom-gateway check")

    def serve(self):
        """Has the package installed and edited, the panel paired, the flats known, the door open."""
        self.boot()
        self.install()
        self.configure()
        self.machine.must(f"systemctl restart {SERVICE}")
        self.give_flats()
        self.opens()
        self.token = self.machine.must("intercom-gateway token add machine").split()[-1]

    def give_flats(self):
        """Imports the flats of the demo's first entrance."""
        document = json.loads(FLATS.read_text())
        document["flats"] = [flat for flat in document["flats"] if flat["intercom"] == 1]
        self.machine.write("/root/flats.json", json.dumps(document))
        self.running()
        self.machine.must("intercom-gateway import /root/flats.json")

    def opens(self, card=CARD, seconds=45):
        """Presents a card until the door opens; where it does not, the journal may know why."""
        try:
            self.panel.opens(card, seconds)
        except Seen as shut:
            swipes = self.events("intercom.key.swiped")
            last = swipes[-1]["data"] if swipes else {}
            raise Seen(f"{shut}; the last swipe: {last.get('decision')} {last.get('reason')}") from shut

    def swipe_after(self, known):
        """Returns the data of the last swipe, where there are more than so many."""
        swipes = self.events("intercom.key.swiped")
        return swipes[-1]["data"] if len(swipes) > known else None

    def refuses(self, card, *reasons):
        """Presents a card that must not open, until it was read at once; the journal has to name one of the reasons."""
        for _ in range(5):
            known = len(self.events("intercom.key.swiped"))
            self.panel.stays_shut(card)
            data = wait("the swipe is in the journal", lambda: self.swipe_after(known), 20)
            if data["reason"] != "stale":
                break
        assert data["decision"] == "denied" and data["reason"] in reasons and data["key"].endswith(card), data

    def running(self, seconds=60):
        """Waits until the service runs."""
        wait("the service runs", lambda: self.machine.unit("ActiveState") == "active", seconds)

    def reasons(self):
        """Returns the reasons of health, as (code, sentence, panel or bus)."""
        said = self.machine.fetch(f"{ENDPOINT}/healthz", f"Authorization: Bearer {self.token}")
        reasons = json.loads(said)["reasons"] if said else []
        return [(r["code"], r.get("message", ""), r.get("panel") or r.get("bus") or "") for r in reasons]

    def health_says(self, code, part="", seconds=60):
        """Waits for a reason of health, by its code and a part of its sentence."""
        seen = []

        def told():
            seen[:] = self.reasons()
            return [r for r in seen if r[0] == code and part in r[1] + r[2]]

        try:
            return wait(f"health says {code} {part}", told, seconds)[0]
        except Seen as late:
            raise Seen(f"{late}; it says {seen}") from late

    def health_is_without(self, code, seconds=60):
        """Waits until health does not have a reason any more."""

        def gone():
            return self.answers() and code not in [r[0] for r in self.reasons()]

        wait(f"health is without {code}", gone, seconds)

    def answers(self):
        """Returns whether the endpoint answers."""
        return '"status"' in self.machine.fetch(f"{ENDPOINT}/healthz")

    def events(self, kind=""):
        """Returns the journal's events of one type, or all."""
        lines = self.machine.must("intercom-gateway journal --json").splitlines()
        return [e for e in map(json.loads, lines) if kind in e["type"]]

    def journal(self):
        """Returns the identity of the journal that is written now."""
        return self.events()[-1]["data"]["journal"]

    def foreign_files(self):
        """Returns the files of the state that are not the service's user's."""
        return self.machine.must(f"find {STATE}/ ! -user intercom-gateway").split()


def repacked(deb, name, change, **fields):
    """Returns another package's copy, its folder changed by `change(folder)`, with fields of its control file."""
    folder = PLACE / f"{os.getpid()}-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["dpkg-deb", "--raw-extract", deb, folder], check=True)
    change(folder)
    control = folder / "DEBIAN/control"
    lines = []
    for line in control.read_text().splitlines():
        field = line.split(":")[0]
        lines.append(f"{field}: {fields[field]}" if field in fields else line)
    control.write_text("\n".join(lines) + "\n")
    (folder / "DEBIAN/md5sums").unlink(missing_ok=True)
    target = PLACE / f"{os.getpid()}-{name}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", folder, target],
                   check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(folder)
    return target


def with_one_setting_less(setting, other):
    """Returns a change for `repacked`: the real program, but for one setting, which it knows by another name."""
    def change(folder):
        program = folder / "usr/bin/intercom-gateway"
        code = program.read_bytes()
        assert len(setting) == len(other) and setting.encode() in code, f"the program does not know {setting}"
        program.write_bytes(code.replace(setting.encode(), other.encode()))
    return change


def make_newer(database):
    """Marks a database as one of a version that is yet to come."""
    with sqlite3.connect(database) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version + 100}")
    connection.close()
