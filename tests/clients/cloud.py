"""A consumer whose every type is generated from docs/asyncapi.yaml: pydantic models by datamodel-code-generator."""

import datetime
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import threading
import uuid

import paho.mqtt.client as mqtt
import yaml
from paho.mqtt.properties import Properties
from paho.mqtt.packettypes import PacketTypes

from building import ROOT, until

DOCUMENT = ROOT / "docs/asyncapi.yaml"
PREFIX = "intercom/v1/building-7/"


def generate(folder):
    """Returns the module that the generator makes of the document."""
    module = folder / "messages.py"
    words = ["--input", DOCUMENT, "--input-file-type", "asyncapi", "--output", module, "--formatters", "builtin"]
    words += ["--output-model-type", "pydantic_v2.BaseModel"]
    subprocess.run([sys.executable, "-m", "datamodel_code_generator", *map(str, words)], check=True)
    spec = importlib.util.spec_from_file_location("messages", module)
    messages = importlib.util.module_from_spec(spec)
    sys.modules["messages"] = messages
    spec.loader.exec_module(messages)
    return messages


class Types:
    """Finds the generated type of a message, as a consumer would: by topic, and by what the message says that it is."""

    def __init__(self, messages):
        self.messages = messages
        document = yaml.safe_load(DOCUMENT.read_text())
        self.described = document["components"]["messages"]
        self.channels = {}
        for channel in document["channels"].values():
            address = channel["address"].removeprefix("{prefix}/{gateway}/")
            self.channels[re.compile(re.sub(r"\{\w+\}", "[^/]+", address) + "$")] = list(channel["messages"])

    def named(self, name):
        """Returns the generated type of the message of this name."""
        schema = self.described[name]["payload"]["$ref"].rsplit("/", 1)[1]
        return getattr(self.messages, schema)

    def name_of(self, topic, message):
        """Returns the name of the message that this is."""
        names = next(names for address, names in self.channels.items() if address.match(topic))
        if len(names) == 1:
            return names[0]
        kind = next(message[member] for member in ("type", "command", "kind") if member in message)
        assert kind in names, f"{topic} has no message {kind}"
        return kind

    def read(self, topic, text):
        """Returns the name of a message, and the message as its type has it. Nothing may be lost on the way."""
        message = json.loads(text)
        name = self.name_of(topic, message)
        typed = self.named(name).model_validate_json(text)
        again = json.loads(typed.model_dump_json(by_alias=True, exclude_unset=True))
        assert shape(again) == shape(message), f"{name}: {message} became {again}"
        return name, typed


def shape(value):
    """Returns a value with no regard to how a moment is written."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        return datetime.datetime.fromisoformat(value)
    return value


def digest(flats):
    """Returns the digest of flats, as docs/cloud.md says it."""
    lines = []
    for flat in sorted(flats, key=lambda flat: (flat["intercom"], flat["id"])):
        canonical = json.dumps(flat, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        lines.append(f"{flat['intercom']}/{flat['id']}:{hashlib.sha256(canonical.encode()).hexdigest()}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class Cloud:
    """Consumes everything, answers sync/request, and gives commands. All it sends is written by generated types."""

    def __init__(self, building, types):
        self.types, self.messages = types, types.messages
        self.flats = json.loads((ROOT / "examples/demo/flats.json").read_text())["flats"]
        self.revision = 57
        self.seen, self.names, self.faults, self.lock = [], set(), [], threading.Lock()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, client_id="cloud")
        self.client.on_message = self._take
        self.client.on_connect = lambda client, *_: client.subscribe(PREFIX + "#", qos=1)
        self.client.connect("127.0.0.1", building.mqtt_port)
        self.client.loop_start()
        until("the cloud is connected", self.client.is_connected)

    def stop(self):
        self.client.disconnect()
        self.client.loop_stop()

    def _take(self, _client, _data, message):
        topic = message.topic.removeprefix(PREFIX)
        # An empty one clears a topic.
        if not message.payload:
            return
        try:
            name, typed = self.types.read(topic, message.payload)
            content = getattr(message.properties, "ContentType", None)
            ours = topic in ("commands", "sync/flats", "events/committed")
            expected = self.types.described[name].get("contentType", "application/json")
            assert ours or content == expected, f"{topic}: {content} is not {expected}"
            with self.lock:
                self.seen.append((name, typed))
                self.names.add(name)
            if name == "syncRequest":
                self._answer(typed)
        except Exception as error:  # what is wrong is told by the main thread
            with self.lock:
                self.faults.append(f"{topic}: {message.payload.decode()}: {error}")

    def _answer(self, request):
        held = None if request.digest is None else request.digest.root
        sum_now = digest(self.flats)
        common = {"request": request.request, "revision": self.revision, "digest": sum_now}
        if held == sum_now and request.revision == self.revision:
            self.send("sync/flats", self.messages.Current(kind="current", **common))
        else:
            snapshot = self.messages.Snapshot(kind="snapshot", part=1, parts=1, flats=self.flats, **common)
            self.send("sync/flats", snapshot)

    def send(self, topic, typed):
        """Sends what a generated type has written."""
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = "application/json"
        text = typed.model_dump_json(by_alias=True, exclude_unset=True)
        self.client.publish(PREFIX + topic, text, qos=1, properties=properties)

    def find(self, name, fits=lambda typed: True):
        """Returns the newest message of this name that fits; None: there is none."""
        with self.lock:
            assert not self.faults, "\n".join(self.faults)
            return next((typed for seen, typed in reversed(self.seen) if seen == name and fits(typed)), None)

    def wait(self, name, fits=lambda typed: True):
        return until(f"{name} is published", lambda: self.find(name, fits))

    def command(self, name, args, session=True, expires=30):
        """Gives a command and returns its result."""
        ask = uuid.uuid4()
        now = datetime.datetime.now(datetime.timezone.utc)
        members = {"args": args, "expires_at": now + datetime.timedelta(seconds=expires)}
        if session:
            members["session"] = self.find("status", lambda status: status.status.value == "online").session
        self.send("commands", self.types.named(name)(id=str(ask), command=name, **members))
        return self.wait("result", lambda result: result.id is not None and result.id.root == str(ask))
