"""A full building for clients that others generate: a broker, simulated panels, and the gateway."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("INTERCOM_GATEWAY", str(ROOT / "target/debug/intercom-gateway"))
# The longest that anything may take that is waited for, in seconds.
PATIENCE = 60

CONFIGURATION = """
[gateway]
id = "building-7"
state_dir = "DIR/state"
clock = "trusted"

[http]
listen = "127.0.0.1:HTTP_PORT"
tls = "off"

[mqtt]
url = "mqtt://127.0.0.1:MQTT_PORT"

[[intercom]]
id = 1
name = "Entrance 1"

[[intercom]]
id = 2
name = "Garage"

[[bus]]
name = "street"
port = "DIR/street"
protocol = "osdp"
baud = 115200

[[bus]]
name = "basement"
port = "DIR/basement"
protocol = "modbus"
baud = 19200

[[panel]]
name = "entrance-1"
intercom = 1
bus = "street"
address = 0
lock = { output = 0, open = "1s" }
door = { input = 0, exit_input = 1, held_after = "2s" }
secure_channel = "install"

[[panel]]
name = "garage"
intercom = 2
bus = "street"
address = 5
lock = { output = 0, open = "1s" }
secure_channel = "off"

[[panel]]
name = "risers"
intercom = 1
bus = "basement"
address = 12
profile = "commutator-100"
lines = { first_flat = 1, count = 20 }
"""


def until(what, look):
    """Waits until `look` gives something, and returns it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError(f"not within {PATIENCE} s: {what}")


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Building:
    """Stands from `with` on. The gateway asks its cloud for flats, which the check has to give it."""

    def __enter__(self):
        self.processes = []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="intercom-clients-"))
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self):
        self.http_port, self.mqtt_port = free_port(), free_port()
        self.config = self.folder / "gateway.toml"
        text = CONFIGURATION.replace("DIR", str(self.folder))
        text = text.replace("HTTP_PORT", str(self.http_port)).replace("MQTT_PORT", str(self.mqtt_port))
        self.config.write_text(text)
        broker = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
        self._spawn([broker, "-p", str(self.mqtt_port)])
        until("the broker listens", lambda: listens(self.mqtt_port))
        self.panels = self._spawn(self._words("simulate"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for line in self.panels.stdout:
            if json.loads(line)["ev"] == "ready":
                break
        self.token, self.reader = self.run("token", "add", "clients"), self.run("token", "add", "reader", "--read-only")

    def start_gateway(self):
        """Starts the gateway; its events before flats are in force are of interest, too."""
        self._log = open(self.folder / "gateway.log", "w")
        self.gateway = self._spawn(self._words("run"), stderr=self._log)
        until("the gateway listens", lambda: listens(self.http_port))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http_port}"

    def happen(self, line):
        """Has something happen at the panels, in the grammar of `simulate`."""
        self.panels.stdin.write(line + "\n")
        self.panels.stdin.flush()

    def run(self, *words):
        """Runs a command of the program."""
        return subprocess.run(self._words(*words), check=True, capture_output=True, text=True).stdout.strip()

    def log(self):
        """Returns what the gateway has said last."""
        log = self.folder / "gateway.log"
        return log.read_text()[-3000:] if log.exists() else "it was not started"

    def stop_gateway(self):
        self.gateway.terminate()
        assert self.gateway.wait(PATIENCE) == 0, self.log()

    def _words(self, *words):
        return [PROGRAM, "--config", str(self.config), *words]

    def _spawn(self, words, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | options
        process = subprocess.Popen(words, **options)
        self.processes.append(process)
        return process

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait(PATIENCE)
        shutil.rmtree(self.folder)
