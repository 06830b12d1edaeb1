"""A card that died: `backup` on one machine, `restore` on another."""

from building import CONFIG, SECRETS, SERVICE, STATE, Building
from machine import wait

FILE = "/root/building.backup"
PASSPHRASE = "/root/passphrase"
SECRET = "aa5e7b0c33d9410f"


def rows(judge, asked):
    with Building("before", asked.deb) as old, Building("after", asked.deb) as new:
        with judge.row("backup, while the daemon serves: one sealed file, root's alone", old.machine):
            old.serve()
            old.machine.must(f"install -m 600 /dev/stdin {SECRETS}/spare", stdin=SECRET + "\n")
            old.machine.write(PASSPHRASE, "correct horse battery staple\n", 0o600)
            old.machine.must(f"intercom-gateway backup {FILE} --passphrase-file {PASSPHRASE}")
            assert old.machine.must(f"stat --format '%a %U' {FILE}").strip() == "600 root"
            sealed = (old.machine.root / FILE.lstrip("/")).read_bytes()
            key = old.machine.must(f"grep -oE '[0-9a-f]{{32}}' {STATE}/panels/entrance-1.json | head -n 1").strip()
            assert key and key.encode() not in sealed and b"entrance-1" not in sealed, "it can be read"
        with judge.row("an ordinary user's backup is refused in a sentence", old.machine):
            said = old.machine.run("echo x > pass; intercom-gateway backup out --passphrase-file pass", user="anna")
            assert said.returncode != 0 and said.stderr and "panicked" not in said.stderr, said.stderr
        journal = old.journal()
        certificate = _certificate(old)
        # The old machine dies; its panel stays on the wall, now at the line of the new one.
        old.machine.shut_down()
        new.machine.lines = [old.line]
        with judge.row("a new machine: restore is refused while the daemon runs", new.machine):
            new.boot()
            new.install()
            new.running()
            new.machine.copy(old.machine.root / FILE.lstrip("/"), FILE, 0o600)
            new.machine.write(PASSPHRASE, "correct horse battery staple\n", 0o600)
            new.machine.fails(f"intercom-gateway restore {FILE} --replace --passphrase-file {PASSPHRASE}", "stop")
        with judge.row("a wrong passphrase is refused, and nothing has changed", new.machine):
            new.machine.must(f"systemctl stop {SERVICE}")
            new.machine.write("/root/wrong", "incorrect\n", 0o600)
            new.machine.fails(f"intercom-gateway restore {FILE} --replace --passphrase-file /root/wrong", "passphrase")
            new.machine.must(f"test -z \"$(ls {STATE}/panels 2>/dev/null)\"")
        with judge.row("restore: configuration, secrets and state are there, with their owners", new.machine):
            new.machine.must(f"intercom-gateway restore {FILE} --replace --passphrase-file {PASSPHRASE}")
            assert new.machine.must(f"cat {CONFIG}") == (old.machine.root / CONFIG.lstrip("/")).read_text()
            assert not new.foreign_files(), new.foreign_files()
            others = new.machine.must(f"find {STATE} -mindepth 1 -perm /077").split()
            assert not others, f"others may read {others}"
        with judge.row("the same card opens, and nobody has visited the panel", new.machine):
            new.panel = old.panel
            new.machine.must(f"systemctl start {SERVICE}")
            new.opens()
            assert old.panel.keys_taken() == 1, "the panel got another key"
        with judge.row("the old token works, and the certificate is the same", new.machine):
            new.token = old.token
            wait("a reason has its sentence, for the token is known",
                 lambda: new.reasons() and all(sentence for _, sentence, _ in new.reasons()))
            assert _certificate(new) == certificate, "another certificate"
        with judge.row("the journal goes on under a new identity", new.machine):
            wait("the door's event", lambda: new.events("intercom.door.unlocked"))
            assert new.journal() != journal, "the same journal"
        with judge.row("after a power cut the same card opens", new.machine):
            new.machine.reboot_after_power_cut()
            new.opens()
            assert old.panel.keys_taken() == 1, "the panel got another key"


def _certificate(building):
    """What the endpoint shows: `curl` tells it where it is asked to."""
    shown = building.machine.must(
        "curl --silent --insecure --output /dev/null --write-out '%{certs}' https://127.0.0.1:8443/healthz")
    assert "BEGIN CERTIFICATE" in shown, shown
    return shown
