"""A machine with a kernel of its own, under qemu without KVM: an 8250, an FTDI adapter, power that fails for good.

Invariants:
- What its kernel has not yet written to the disk is gone after a power cut.
- Commands reach it by ssh over a network that leads nowhere else.
"""

import contextlib
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

from machine import PLACE, PROGRAMS, Machine, Seen, debootstrap, with_user

# What Debian's kernel needs to find its disk; all modules would take a minute to unpack.
MODULES = "virtio_pci\nvirtio_blk\next4\n"
UART = "/dev/ttyS1"
# The adapter's own number: its name does not depend on the socket.
SERIAL = "A9XK3F7C"


def kernel_image():
    """Returns the folder of a Debian with a kernel and sshd, after making it (4 minutes, 900 MB)."""
    folder = PLACE / "trixie-kernel"
    if (folder / "made").exists():
        return folder
    debootstrap("trixie", folder, PROGRAMS + ",linux-image-amd64,initramfs-tools,zstd,openssh-server,iproute2,kmod")
    prepare(folder)
    return folder


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

    def __init__(self, name):  # pylint: disable=super-init-not-called
        image = kernel_image()
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
        self.ends = {UART: pty.openpty(), "usb": pty.openpty()}
        for _, slave in self.ends.values():
            tty.setraw(slave)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def boot(self, seconds=600):
        """Boots; without KVM that takes minutes."""
        for line in self.lines:
            line.attach(self)
        s1, usb = (os.ttyname(self.ends[end][1]) for end in (UART, "usb"))
        complaints = (self.place / "qemu.log").open("w", encoding="utf-8")
        self.qemu = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "768", "-display", "none", "-no-reboot",
             "-kernel", self.place / "vmlinuz", "-initrd", self.place / "initrd.img",
             "-append", "root=/dev/vda rw console=ttyS0 quiet panic=5",
             "-drive", f"file={self.disk},if=virtio,format=raw,cache=none",
             "-netdev", f"user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22",
             "-device", "virtio-net-pci,netdev=n",
             "-chardev", f"file,id=con,path={self.log},append=on", "-serial", "chardev:con",
             "-chardev", f"serial,id=s1,path={s1}", "-serial", "chardev:s1",
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
        return os.dup(self.ends[UART if device == UART else "usb"][0]), None

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
