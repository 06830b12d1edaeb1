"""From the package to the first open door."""

from building import APT, CONFIG, ENDPOINT, SECRETS, SERVICE, STATE, STRANGER, Building
from machine import Seen, wait


def rows(judge, asked):
    with Building("install", asked.deb) as building:
        machine = building.machine
        building.boot()
        with judge.row("the package installs without a network", machine):
            said = building.install()
            assert not any(word in said.lower() for word in ("fail", "error", "warning", "cannot")), said
        with judge.row("the service runs, and is started at the next boot", machine):
            building.running()
            machine.must(f"systemctl is-enabled {SERVICE}")
        with judge.row("an empty building: /healthz answers no_bus", machine):
            wait("/healthz answers", building.answers)
            health = machine.fetch(f"{ENDPOINT}/healthz")
            assert '"no_bus"' in health, health
        with judge.row("files have the owners and modes that they should have", machine):
            _owners(machine)
        with judge.row("manual pages, completions and licences are there"):
            listed = machine.must(f"dpkg --listfiles {SERVICE}").split()
            for part in ("man8/intercom-gateway.8.gz", "man5/", "bash-completion/completions/",
                         "zsh/vendor-completions/", "fish/vendor_completions.d/", "copyright", "changelog",
                         "bom.cdx.json", "profiles/"):
                assert any(part in file for file in listed), f"{part} is not in the package"
            machine.must("bash -c 'source /usr/share/bash-completion/completions/intercom-gateway'")
        with judge.row("dpkg --verify is content"):
            changed = machine.must(f"dpkg --verify {SERVICE}")
            assert not changed, changed
        with judge.row("installing it twice changes nothing", machine):
            building.install(options="--reinstall")
            building.running()
            assert not machine.must(f"dpkg --verify {SERVICE}")
        with judge.row("four lines edited: the panel is paired by itself", machine):
            building.configure()
            machine.must(f"systemctl restart {SERVICE}")
            wait("its secure channel is up", building.panel.is_secure, 90)
            wait("it has its own key", lambda: building.panel.keys_taken() == 1, 30)
        with judge.row("a card that nobody knows opens nothing, and its number is in the journal", machine):
            building.refuses(STRANGER, "key_unknown", "cache_empty")
        with judge.row("flats imported: a card opens", machine):
            building.give_flats()
            building.opens()
        with judge.row("the journal tells of the door", machine):
            wait("intercom.door.unlocked", lambda: building.events("intercom.door.unlocked"), 20)
        with judge.row("the configuration that was edited stays in an installation of the same version", machine):
            building.install(options="--reinstall")
            building.opens()
        with judge.row("apt remove keeps data and configuration", machine):
            machine.must("apt-get remove --yes --quiet=2 intercom-gateway")
            assert machine.run(f"systemctl is-active {SERVICE}").stdout.strip() != "active", "the service still runs"
            machine.must(f"test -s {CONFIG} && ls {STATE}/panels/*.json && test ! -e /usr/bin/intercom-gateway")
        with judge.row("installed again: the same card opens, and no panel was visited", machine):
            building.install()
            building.opens()
            assert building.panel.keys_taken() == 1, "the panel got another key"
        with judge.row("apt purge saves the panels' keys, root's alone, and says so", machine):
            key = machine.must(f"cat {STATE}/panels/entrance-1.json")
            said = machine.must("apt-get purge --yes --quiet=2 intercom-gateway 2>&1")
            saved = machine.must("ls /var/backups/intercom-gateway-keys-*.json").strip()
            assert saved in said, said
            assert machine.must(f"stat --format '%a %U' {saved}").strip() == "600 root"
            assert key.strip() in machine.must(f"cat {saved}"), "the key is not in it"
            machine.must(f"test ! -e {STATE} && test ! -e /var/lib/private/{SERVICE} && test ! -e {CONFIG}")
        with judge.row("from installation to first poll in 5 s at most", machine) as notes:
            notes.append(_to_first_poll(building))


def _owners(machine):
    for path, owned in ((SECRETS, "700 root root"), (STATE, "700 intercom-gateway intercom-gateway"),
                        (CONFIG, "644 root root"), ("/usr/bin/intercom-gateway", "755 root root")):
        seen = machine.must(f"stat --format '%a %U %G' {path}").strip()
        assert seen == owned, f"{path} is {seen} instead of {owned}"
    machine.must(f"test ! -L {STATE}")
    others = machine.must(f"find {STATE} -mindepth 1 -perm /077").split()
    assert not others, f"others may read {others}"


def _to_first_poll(building):
    """Installs onto a machine that is configured already. The best of three: the host may be busy otherwise."""
    machine = building.machine
    best = None
    for _ in range(3):
        machine.run("apt-get purge --yes --quiet=2 intercom-gateway")
        machine.write(CONFIG, _door(building))
        building.line.forget()
        clock = machine.must("cat /proc/uptime").split()[0]
        machine.must(f"{APT} /root/{building.deb.name}", seconds=300)
        if not building.line.polled.wait(60):
            raise Seen("no poll within 60 s")
        # Both count from the boot of the host.
        took = building.line.first_poll - float(clock)
        best = took if best is None else min(best, took)
        if best <= 5:
            break
    assert best <= 5, f"{best:.1f} s"
    return f"first poll after {best:.1f} s"


def _door(building):
    return f"""[[intercom]]
id = 1
[[bus]]
name = "street"
port = "{building.line.device}"
protocol = "osdp"
[[panel]]
name = "entrance-1"
intercom = 1
bus = "street"
address = 0
lock = {{ output = 0 }}
secure_channel = "install"
"""
