"""A machine with a kernel of its own, under qemu without KVM: a UART, an FTDI adapter, power that fails for good.

Invariants:
- What its kernel has not yet written to the disk is gone after a power cut.
- Commands reach it by ssh over a network that leads nowhere else.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import pty
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
import tty

from machine import PLACE, PROGRAMS, Machine, NotHere, Seen, debootstrap, with_user

# What Debian's kernel needs to find its disk and its console; all modules would take a minute to unpack.
MODULES = "virtio_pci\nvirtio_blk\nvirtio_console\next4\n"
# The adapter's own number: its name does not depend on the socket.
SERIAL = "A9XK3F7C"
BINFMT = pathlib.Path("/proc/sys/fs/binfmt_misc")


@dataclasses.dataclass(frozen=True)
class Kind:
    """What differs between the machines of Debian's architectures."""

    qemu: str
    board: tuple
    # The chardev "con" is the console, "s1" the line.
    serial: tuple
    console: str
    uart: str


KINDS = {
    "amd64": Kind("qemu-system-x86_64", ("-cpu", "max"), ("-serial", "chardev:con", "-serial", "chardev:s1"),
                  "ttyS0", "/dev/ttyS1"),
    # The processor of a Raspberry Pi 4, and the PL011 that it has for a line.
    "arm64": Kind("qemu-system-aarch64", ("-machine", "virt", "-cpu", "cortex-a72"),
                  ("-serial", "chardev:s1", "-device", "virtio-serial-pci", "-device", "virtconsole,chardev=con"),
                  "hvc0", "/dev/ttyAMA0"),
}


def kernel_image(architecture):
    """Returns the folder of a Debian with a kernel and sshd, after making it (4 minutes, half an hour where this host has
    to emulate its programs; 900 MB)."""
    folder = PLACE / f"trixie-kernel-{architecture}"
    if (folder / "made").exists():
        return folder
    run_programs_of(architecture)
    debootstrap("trixie", folder, f"{PROGRAMS},linux-image-{architecture},initramfs-tools,zstd,openssh-server,iproute2,"
                                  "kmod", architecture)
    prepare(folder)
    return folder


def run_programs_of(architecture):
    """Lets this host run the programs of an architecture, as Debian's qemu-user-static does where systemd runs."""
    own = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()
    name = {"amd64": "qemu-x86_64", "arm64": "qemu-aarch64"}[architecture]
    if architecture == own or (BINFMT / name).exists():
        return
    how = pathlib.Path(f"/usr/lib/binfmt.d/{name}.conf")
    if not how.exists():
        raise NotHere(f"programs of {architecture} do not run here: apt-get install qemu-user-static")
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=True)
    (BINFMT / "register").write_bytes(how.read_bytes())


def prepare(folder):
    """Lets a Debian boot under qemu, and root in."""
    (folder / "etc/initramfs-tools/conf.d/machine").write_text("MODULES=list\n")
    (folder / "etc/initramfs-tools/modules").write_text(MODULES)
    subprocess.run(["chroot", folder, "update-initramfs", "-u"], check=True, capture_output=True)
    (folder / "etc/fstab").write_text("/dev/vda / ext4 defaults,noatime 0 1\n")
    (folder / "etc/systemd/network/80-dhcp.network").write_text("[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n")
    subprocess.run(["chroot", folder, "systemctl", "--quiet", "enable", "systemd-networkd", "ssh"], check=True)
    subprocess.run(["chroot", folder, "systemctl", "--quiet", "mask", "apt-daily.timer", "apt-daily-upgrade.timer",
                    "systemd-networkd-wait-online.service"], check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    (folder / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(folder / "key.pub", folder / "root/.ssh/authorized_keys")
    (folder / "made").touch()


class Emulated(Machine):
    """A machine that qemu emulates."""

    def __init__(self, name, architecture):  # pylint: disable=super-init-not-called
        image = kernel_image(architecture)
        self.kind = KINDS[architecture]
        self.name = name
        self.lines = []
        self.qemu = None
        self.place = pathlib.Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-{name}-", dir=PLACE))
        self.log = self.place / "console.log"
        for source, target in (("boot/vmlinuz-*", "vmlinuz"), ("boot/initrd.img-*", "initrd.img"), ("key", "key")):
            shutil.copyfile(next(image.glob(source)), self.place / target)
        (self.place / "key").chmod(0o600)
        self.disk = self.place / "disk.raw"
        subprocess.run(["truncate", "--size=3G", self.disk], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-d", image, self.disk], check=True, stdout=subprocess.DEVNULL)
        self.ends = {"uart": pty.openpty(), "usb": pty.openpty()}
        for _, slave in self.ends.values():
            tty.setraw(slave)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def boot(self, seconds=600):
        """Boots; without KVM that takes minutes."""
        for line in self.lines:
            line.attach(self)
        uart, usb = (os.ttyname(self.ends[end][1]) for end in ("uart", "usb"))
        complaints = (self.place / "qemu.log").open("w", encoding="utf-8")
        self.qemu = subprocess.Popen(
            [self.kind.qemu, *self.kind.board, "-accel", "tcg", "-m", "768", "-display", "none", "-no-reboot",
             "-kernel", self.place / "vmlinuz", "-initrd", self.place / "initrd.img",
             "-append", f"root=/dev/vda rw console={self.kind.console} quiet panic=5",
             "-drive", f"file={self.disk},if=virtio,format=raw,cache=none",
             "-netdev", f"user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22",
             "-device", "virtio-net-pci,netdev=n",
             "-chardev", f"file,id=con,path={self.log},append=on",
             "-chardev", f"serial,id=s1,path={uart}", *self.kind.serial,
             "-chardev", f"serial,id=u0,path={usb}", "-device", "qemu-xhci,id=xhci",
             "-device", f"usb-serial,id=ftdi,chardev=u0,bus=xhci.0,serial={SERIAL}",
             "-qmp", f"unix:{self.place}/qmp,server=on,wait=off"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=complaints,
        )
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.qemu.poll() is None:
            with contextlib.suppress(Seen):
                if self.run("true", seconds=60).returncode == 0:
                    self.run("systemctl is-system-running --wait", seconds=300)
                    Machine.any_has_booted = True
                    return
            time.sleep(1)
        tail = (self.place / "qemu.log").read_text().strip() or f"not within {seconds} s, see {self.log}"
        raise self.does_not_boot(tail)

    def line_end(self, device):
        """Returns this host's end of the UART, or of the adapter."""
        return os.dup(self.ends["uart" if device == self.kind.uart else "usb"][0]), None

    def run(self, command, seconds=300, user=None, stdin=None):
        """Runs a command of bash inside."""
        ssh = ["ssh", "-q", "-p", str(self.port), "-i", self.place / "key", "-o", "StrictHostKeyChecking=no",
               "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=30", "-o", "ControlMaster=auto",
               "-o", f"ControlPath={self.place}/ssh", "-o", "ControlPersist=yes", "root@127.0.0.1",
               "env DEBIAN_FRONTEND=noninteractive " + shlex.join(with_user(command, user))]
        try:
            return subprocess.run(ssh, input=stdin if stdin is not None else "", capture_output=True, text=True,
                                  errors="replace", timeout=seconds, check=False)
        except subprocess.TimeoutExpired as late:
            raise Seen(f"`{command}` has not ended in {seconds} s") from late

    def write(self, path, text, mode=0o644):
        """Writes a file of root's."""
        self.must(f"install -D -m {mode:o} /dev/stdin {path}", stdin=text)

    def copy(self, source, path, mode=0o755):
        """Copies a file of this host onto the machine."""
        subprocess.run(["scp", "-q", "-P", str(self.port), "-i", self.place / "key", "-o", "StrictHostKeyChecking=no",
                        "-o", "UserKnownHostsFile=/dev/null", source, f"root@127.0.0.1:{path}"], check=True)
        self.must(f"chmod {mode:o} {path}")

    def is_on(self):
        """Returns whether it has been booted."""
        return self.qemu is not None

    def monitor(self, command, **arguments):
        """Has qemu do something to the machine: plug, unplug."""
        with socket.socket(socket.AF_UNIX) as wire:
            wire.connect(os.fspath(self.place / "qmp"))
            answers = wire.makefile()
            answers.readline()
            for asked in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                wire.sendall(json.dumps(asked).encode() + b"\n")
                while "event" in (answer := json.loads(answers.readline())):
                    pass
                if "error" in answer:
                    raise Seen(f"qemu: {answer['error']}")

    def unplug(self):
        """Pulls the USB adapter."""
        self.monitor("device_del", id="ftdi")

    def plug(self):
        """Puts the USB adapter back."""
        self.monitor("device_add", driver="usb-serial", id="ftdi", chardev="u0", bus="xhci.0", serial=SERIAL)

    def power_cut(self):
        """Ends it at once: what its kernel has not written is lost."""
        if self.qemu:
            self.qemu.kill()
            self.qemu.wait()
        for line in self.lines:
            line.detach()
        self.qemu = None
        subprocess.run(["ssh", "-q", "-O", "exit", "-o", f"ControlPath={self.place}/ssh", "root@127.0.0.1"],
                       check=False, capture_output=True)

    def remove(self):
        """Cuts the power and deletes the disk."""
        self.power_cut()
        for master, slave in self.ends.values():
            os.close(master)
            os.close(slave)
        shutil.rmtree(self.place, ignore_errors=True)
