"""One emulated machine: Debian in a folder of its own, systemd as PID 1 of a container, the host's kernel, no network.

Invariants:
- What is on a machine's disk stays through a power cut and the next start; only `remove` deletes it.
- A machine's processes end with its PID 1, and nobody else's are touched.
- Two machines share nothing, not even with those of another run beside this one.
"""

import contextlib
import fcntl
import os
import pathlib
import shlex
import shutil
import signal
import struct
import subprocess
import time
import tty

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLACE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "machine"
TIOCSPTLCK, TIOCGPTN = 0x40045431, 0x80045430
DIALOUT = 20
# Goes into control groups, "PATH:PATH", and becomes another program there.
JOINS = 'IFS=:; for group in $1; do echo 0 > "$group/cgroup.procs"; done; shift; exec "$@"'
# What the package depends on and recommends, and what its user has on a Raspberry Pi.
PROGRAMS = "systemd,systemd-sysv,dbus,udev,sudo,curl,procps,ca-certificates"


class Seen(Exception):
    """Something else was seen than what was expected; its text says what."""


class NotHere(Exception):
    """This host boots no machine: not even the first one, which nothing is installed on."""


def debootstrap(suite, folder, programs, architecture=None):
    """Makes a Debian in a folder, with an ordinary user who may use sudo; of this host's architecture unless told."""
    mirrors = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True, check=True
    ).stdout.split()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with open(PLACE / f"{folder.name}.log", "w", encoding="utf-8") as log:
        other = [f"--arch={architecture}"] if architecture else []
        subprocess.run(["debootstrap", *other, "--variant=minbase", f"--include={programs}", suite, folder, mirrors[0]],
                       stdout=log, stderr=log, check=True)
    shutil.rmtree(folder / "var/cache/apt/archives", ignore_errors=True)
    # A machine without a network asks no mirror.
    (folder / "etc/apt/sources.list").write_text("")
    (folder / "etc/fstab").write_text("")
    subprocess.run(["chroot", folder, "useradd", "--create-home", "--shell", "/bin/bash", "anna"], check=True)
    (folder / "etc/sudoers.d/anna").write_text("anna ALL=(ALL) NOPASSWD: ALL\n")


def image(suite):
    """Returns the folder of a Debian that nothing is installed in yet, after making it (2 minutes, 350 MB)."""
    folder = PLACE / suite
    if not (folder / "made").exists():
        debootstrap(suite, folder, PROGRAMS)
        (folder / "made").touch()
    return folder


def with_user(command, user):
    """Returns the arguments of a command of bash, as root or another user."""
    return ["runuser", "--login", user, "--command", command] if user else ["/bin/bash", "-c", command]


def wait(what, condition, seconds=60.0, every=0.2):
    """Returns what `condition` returns as soon as that is true. Raises `Seen` after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        if time.monotonic() > end:
            raise Seen(f"within {seconds:.0f} s it did not come about: {what}")
        time.sleep(every)


class Machine:
    """A machine that can be booted, looked into, and cut off from its power."""

    any_has_booted = False

    def __init__(self, name, suite="trixie", disk=None):
        """Makes its disk; `disk` is its size ("600m") where it can become full: it lies in memory then."""
        self.name = name
        self.root = PLACE / f"{os.getpid()}-{name}"
        self.root.mkdir(parents=True)
        self.in_memory = disk is not None
        self.container = None
        self.init = None
        self.lines = []
        self.log = PLACE / f"{name}.log"
        self.log.write_text("")
        if self.in_memory:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={disk},mode=755", "tmpfs", self.root], check=True)
        subprocess.run(["cp", "--archive", "--reflink=auto", f"{image(suite)}/.", self.root], check=True)
        (self.root / "etc/hostname").write_text(name + "\n")
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost {name}\n")
        self.disks = []

    def add_disk(self, path, size):
        """Puts an ext4 of its own at a folder, before the machine is booted. Returns where this host has it."""
        folder = self.root / path.lstrip("/")
        folder.mkdir(parents=True)
        file = PLACE / f"{self.root.name}.ext4"
        subprocess.run(["mkfs.ext4", "-q", "-F", file, size], check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)
        subprocess.run(["mount", "-o", "loop,errors=remount-ro", file, folder], check=True)
        shutil.rmtree(folder / "lost+found")
        self.disks.append((folder, file))
        return folder

    def boot(self):
        """Boots, and waits until systemd has done so. Its lines are there again then."""
        group = ":".join(map(str, _own_groups(self.root.name)))
        with open(self.log, "a", encoding="utf-8") as log:
            self.container = subprocess.Popen(
                ["/bin/sh", "-c", JOINS, "sh", group, "systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot",
                 "--register=no", "--keep-unit", f"--machine={self.name}", "--private-network", "--console=read-only"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}, start_new_session=True,
            )
        end = time.monotonic() + 120
        while time.monotonic() < end and self.container.poll() is None:
            self.init = self.init or self._find_init()
            # As soon as it answers: a line that is there late is what a daemon gets to see, too.
            if self.init and self.run("systemctl is-system-running").stdout.strip() not in ("", "offline", "unknown"):
                for line in self.lines:
                    line.attach(self)
                self.run("systemctl is-system-running --wait", seconds=120)
                Machine.any_has_booted = True
                return
            time.sleep(0.1)
        tail = self.log.read_text(errors="replace").splitlines()[-5:]
        self.power_cut()
        raise self.does_not_boot(" / ".join(tail))

    @staticmethod
    def does_not_boot(why):
        """Returns what to raise: where another machine has booted before, it is this one's fault."""
        return Seen(f"it does not boot: {why}") if Machine.any_has_booted else NotHere(f"nothing boots here: {why}")

    def _find_init(self):
        root = os.stat(self.root)
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                inside = os.stat(process / "root")
                if (inside.st_dev, inside.st_ino) != (root.st_dev, root.st_ino):
                    continue
                status = (process / "status").read_text().splitlines()
                inner = next(line.split()[-1] for line in status if line.startswith("NSpid"))
                if inner == "1" and (process / "comm").read_text().strip() == "systemd":
                    return int(process.name)
        return None

    def line_end(self, device):
        """Makes a tty of group dialout inside, and returns its master and the tty itself, both open."""
        root = f"/proc/{self.init}/root"
        master = os.open(f"{root}/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
        number = struct.unpack("i", fcntl.ioctl(master, TIOCGPTN, b"\0" * 4))[0]
        os.chown(f"{root}/dev/pts/{number}", 0, DIALOUT)
        os.chmod(f"{root}/dev/pts/{number}", 0o660)
        slave = os.open(f"{root}/dev/pts/{number}", os.O_RDWR | os.O_NOCTTY)
        tty.setraw(slave)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(root + device)
        os.symlink(f"/dev/pts/{number}", root + device)
        return master, slave

    def run(self, command, seconds=120, user=None, stdin=None):
        """Runs a command of bash inside, as root or another user, and returns how it ended."""
        try:
            return subprocess.run(
                ["nsenter", "--target", str(self.init), "--all", "--", "env", "-i", "LANG=C.UTF-8", "HOME=/root",
                 "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive",
                 *with_user(command, user)],
                input=stdin if stdin is not None else "", capture_output=True, text=True, errors="replace",
                timeout=seconds, check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise Seen(f"`{command}` has not ended in {seconds} s") from late

    def must(self, command, **how):
        """Runs a command that has to succeed, and returns what it wrote to standard output."""
        result = self.run(command, **how)
        if result.returncode != 0:
            raise Seen(f"`{command}` ended with {result.returncode}: {_last_words(result)}")
        return result.stdout

    def fails(self, command, says, status=None, **how):
        """Runs a command that has to fail and to say so in a sentence; returns all that it wrote."""
        result = self.run(command, **how)
        said = result.stdout + result.stderr
        if result.returncode == 0 or (status is not None and result.returncode != status):
            raise Seen(f"`{command}` ended with {result.returncode}: {_last_words(result)}")
        if says not in said:
            raise Seen(f"`{command}` does not say {says!r}: {_last_words(result)}")
        return said

    def write(self, path, text, mode=0o644):
        """Writes a file of root's."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def copy(self, source, path, mode=0o755):
        """Copies a file of this host onto the machine."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(mode)

    def fetch(self, url, *headers):
        """Returns what the machine's own endpoint answers, and "" where nobody does."""
        return self.run(shlex.join(["curl", "-s", "-k", "-m", "5", *(f"-H{header}" for header in headers), url])).stdout

    def unit(self, setting):
        """Returns one property of the service."""
        return self.must(f"systemctl show --property {setting} --value intercom-gateway").strip()

    def is_on(self):
        """Returns whether it has been booted."""
        return self.init is not None

    def power_cut(self):
        """Ends everything inside at once."""
        if self.init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.init, signal.SIGKILL)
        if self.container:
            try:
                self.container.wait(20)
            except subprocess.TimeoutExpired:
                self.container.kill()
                self.container.wait()
        for line in self.lines:
            line.detach()
        self.container = self.init = None

    def reboot_after_power_cut(self):
        """Cuts the power, and switches it on again."""
        self.power_cut()
        self.boot()

    def shut_down(self):
        """Ends in order, as `poweroff` does."""
        self.run("systemctl poweroff --no-wall")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.container.wait(60)
        self.power_cut()

    def remove(self):
        """Cuts the power and deletes the disk."""
        self.power_cut()
        for folder, file in self.disks:
            subprocess.run(["umount", "--lazy", folder], check=False)
            file.unlink()
        if self.in_memory:
            subprocess.run(["umount", "--lazy", self.root], check=False)
        shutil.rmtree(self.root, ignore_errors=True)
        (PLACE / f".#{self.root.name}.lck").unlink(missing_ok=True)
        for group in _groups(self.root.name):
            _delete(group)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


def _last_words(result):
    words = (result.stderr.strip() or result.stdout.strip()).splitlines()
    return " / ".join(words[-3:]) or "nothing"


def _groups(name):
    """Control groups of a machine's own, or the payloads of two would lie in one."""
    mounts = [line.split() for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
    places = [m[1] for m in mounts if m[2] == "cgroup2" or (m[2] == "cgroup" and "name=systemd" in m[3].split(","))]
    return [pathlib.Path(place) / f"intercom-gateway-{name}" for place in places]


def _own_groups(name):
    groups = _groups(name)
    for group in groups:
        group.mkdir(exist_ok=True)
    return groups


def _delete(group):
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
