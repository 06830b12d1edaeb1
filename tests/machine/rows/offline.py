"""Commands: of root while no daemon runs, and of an ordinary user."""

from building import SERVICE, Building
from machine import Seen


def rows(judge, asked):
    with Building("offline", asked.deb) as building:
        machine = building.machine
        building.serve()
        for running in (True, False):
            state = "while the daemon runs" if running else "with the daemon stopped"
            if not running:
                machine.must(f"systemctl stop {SERVICE}")
            for what, command in (("flat", "flat 1 1"), ("journal", "journal"), ("token list", "token list"),
                                  ("token add", "token add anna"), ("export", "export /home/anna/out.json"),
                                  ("import", "import /tmp/flats.json")):
                machine.must("cp /root/flats.json /tmp/ && chmod 644 /tmp/flats.json && rm -f /home/anna/out.json")
                with judge.row(f"an ordinary user's `{what}` is refused in a sentence {state}") as notes:
                    result = machine.run(f"intercom-gateway {command}", user="anna")
                    notes.append(_refusal(result))
                with judge.row(f"`sudo … {what}` works {state}"):
                    machine.must(f"sudo intercom-gateway {command}", user="anna")
                    machine.must("intercom-gateway token revoke anna || true")
        with judge.row("an ordinary user may check the configuration"):
            machine.must("intercom-gateway check", user="anna")
        with judge.row("root's commands work with the daemon stopped, and leave files to the service's user", machine):
            assert '"flat":1' in machine.must("intercom-gateway flat 1 1").replace(" ", "")
            assert building.events("intercom.door.unlocked"), "no unlock in the journal"
            machine.must("intercom-gateway export /root/exported.json")
            machine.must("intercom-gateway import /root/exported.json")
            machine.must("intercom-gateway token add offline")
            assert "offline" in machine.must("intercom-gateway token list")
            machine.must("intercom-gateway token revoke offline")
            assert not building.foreign_files(), building.foreign_files()
        with judge.row("the daemon goes on from there: the same card opens", machine):
            machine.must(f"systemctl start {SERVICE}")
            building.opens()
            assert not building.foreign_files(), building.foreign_files()
        with judge.row("systemctl of an ordinary user is refused, and the service goes on", machine):
            assert machine.run(f"systemctl stop {SERVICE}", user="anna").returncode != 0
            building.opens()


def _refusal(result):
    said = result.stderr.strip()
    if result.returncode == 0:
        raise Seen("it is not refused")
    if not said or "panicked" in said or "RUST_BACKTRACE" in said:
        raise Seen(f"it says {said!r}")
    if not any(word in said for word in ("sudo", "root")):
        raise Seen(f"no next step in: {said}")
    return said.replace("\n", " / ")
