"""Secrets that systemd hands over, and ttys for a service in a user namespace: on Debian 12 and 13."""

import json

from building import CONFIG, FLATS, SECRETS, SERVICE, Building
from machine import wait
from panels import Line, Panel

FRONT_KEY, BACK_KEY = "d459f02f6602e5651f3b553bc283d43e", "7c1e0a95b6d2483f9e50c8a1f7342bd6"
FRONT_CARD, BACK_CARD = "3042CAAC", "5566AA77"
BACK_PORT = "/dev/ttyS8"
TWO_DOORS = """[mqtt]
url = "mqtt://127.0.0.1:1883"
username = "machine"
password_file = "credential:mqtt-password"
[gateway]
id = "machine"
"""
DOOR = """[[intercom]]
id = {id}
[[bus]]
name = "{name}"
port = "{port}"
protocol = "osdp"
reply_timeout = "500ms"
[[panel]]
name = "{name}"
intercom = {id}
bus = "{name}"
address = 0
lock = {{ output = 0 }}
secure_key_file = "credential:{name}"
"""
MISSING = "there is no credential"


def rows(judge, asked):
    for suite in ("trixie", "bookworm"):
        with Building(f"secrets-{suite}", asked.deb, suite, key=FRONT_KEY) as building:
            with Line(building.machine, BACK_PORT) as back, Panel(back, key=BACK_KEY) as panel:
                _rows(judge, building, panel)


def _rows(judge, building, back):
    machine = building.machine
    building.boot()
    version = "systemd " + machine.must("systemctl --version").split()[1]

    def secret(name, value):
        machine.must(f"install -d -m 700 {SECRETS} && install -m 600 /dev/stdin {SECRETS}/{name}", stdin=value + "\n")

    def start():
        machine.must(f"systemctl restart {SERVICE}", seconds=60)
        building.running()
        wait("the endpoint answers", building.answers)

    def stays_offline():
        assert not back.is_secure(), "a panel whose key is missing has a secure channel"

    with judge.row(f"{version}: the package installs, and the service runs", machine):
        building.install()
        building.running()
    machine.write(CONFIG, TWO_DOORS + DOOR.format(id=1, name="front", port=building.line.device)
                  + DOOR.format(id=2, name="back", port=BACK_PORT))
    with judge.row(f"{version}: without a folder of secrets the service starts, and health names each key", machine):
        machine.must(f"rm -rf {SECRETS}")
        start()
        building.token = machine.must("intercom-gateway token add machine").split()[-1]
        machine.write("/root/flats.json", FLATS.read_text())
        machine.must("intercom-gateway import /root/flats.json")
        building.health_says("panel_key", "front")
        building.health_says("panel_key", "back")
        building.health_says("broker", "mqtt-password")
    with judge.row(f"{version}: with an empty folder it starts, too", machine):
        machine.must(f"install -d -m 700 {SECRETS}")
        start()
        building.health_says("panel_key", "back")
    with judge.row(f"{version}: one key of two: its door opens, and health names the other", machine):
        secret("front", FRONT_KEY)
        start()
        building.opens(FRONT_CARD)
        building.health_says("panel_key", "back")
        stays_offline()
    with judge.row(f"{version}: `check` with the service's secrets names what is missing, and no more", machine):
        checked = machine.run(f"systemd-run --quiet --pipe --wait --property=LoadCredential=secrets:{SECRETS}"
                              " intercom-gateway check 2>&1").stdout
        assert "credential back" in checked and "mqtt-password" in checked, checked
        assert "credential front" not in checked, checked
    with judge.row(f"{version}: a tty of group dialout opens in the service's user namespace", machine):
        process = machine.unit("MainPID")
        assert machine.unit("PrivateUsers") == "yes", machine.unit("PrivateUsers")
        own = machine.must(f"readlink /proc/{process}/ns/user")
        assert own != machine.must("readlink /proc/1/ns/user"), "it has no user namespace of its own"
        assert machine.must(f"ps -o user= -p {process}").strip().startswith("interco"), "it runs as somebody else"
        for port in (building.line.device, BACK_PORT):
            assert machine.must(f"stat --dereference --format '%U:%G %a' {port}").strip() == "root:dialout 660"
        building.opens(FRONT_CARD)
    with judge.row(f"{version}: the unit's score is 1.3 at most", machine) as notes:
        said = machine.must(f"systemd-analyze security --no-pager {SERVICE}").strip().splitlines()[-1]
        score = float(said.split(":")[1].split()[0])
        notes.append(str(score))
        assert score <= 1.3, said
    with judge.row(f"{version}: both keys and no password: both doors open", machine):
        secret("back", BACK_KEY)
        start()
        building.opens(FRONT_CARD)
        back.opens(BACK_CARD)
        building.health_says("broker", "mqtt-password")
    with judge.row(f"{version}: the password is there: only the broker is missing", machine):
        secret("mqtt-password", "secret")
        start()
        building.health_says("broker", "nothing listens")
        assert "panel_key" not in [code for code, _, _ in building.reasons()], building.reasons()
    with judge.row(f"{version}: no secret is in the log or in health", machine):
        said = machine.must(f"journalctl --unit {SERVICE} --output cat") + json.dumps(building.reasons())
        for value in (FRONT_KEY, BACK_KEY):
            assert value not in said.lower(), "a key is"
