"""The endpoint, asked by the client that openapi-python-client generates."""

import importlib
import json
import pathlib
import re
import subprocess
import sys

import httpx

from building import ROOT, until

DOCUMENT = ROOT / "src/api/openapi.json"
# A good request of it has an answer that never ends.
ENDLESS = {"stream"}


def generate(folder):
    """Makes the package `gateway_client`, and returns it."""
    program = pathlib.Path(sys.executable).with_name("openapi-python-client")
    configuration = folder / "client.yaml"
    # What it would do after it has written the files is to make them beautiful, by a program that is not here.
    configuration.write_text("post_hooks: []\n")
    words = [program, "generate", "--path", DOCUMENT, "--config", configuration, "--meta", "none", "--fail-on-warning"]
    words += ["--output-path", folder / "gateway_client"]
    made = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    sys.path.insert(0, str(folder))
    return importlib.import_module("gateway_client")


def operations():
    """Yields path, method and id of all operations."""
    for path, methods in json.loads(DOCUMENT.read_text())["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                yield path, method, operation["operationId"]


def check(building, folder):
    package = generate(folder)
    building.start_gateway()
    until("the panels are online", lambda: panels_are_online(building))
    client = package.AuthenticatedClient(base_url=building.url, token=building.token)
    reader = package.AuthenticatedClient(base_url=building.url, token=building.reader)
    stranger = package.AuthenticatedClient(base_url=building.url, token="nobody")
    asked = set()

    def ask(operation, by=client, **members):
        """Calls an operation; a body that its type does not fit is an exception."""
        asked.add(operation)
        name = "".join("_" + letter.lower() if letter.isupper() else letter for letter in operation)
        name += "_" * (name == "self")  # a word of the language
        module = importlib.import_module(f"gateway_client.api.default.{name}")
        answer = module.sync_detailed(client=by, **members)
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        if is_json:
            assert answer.parsed is not None, f"{operation}: {answer.status_code} {answer.content} is not described"
            assert same(answer.parsed.to_dict(), json.loads(answer.content)), f"{operation}: {answer.content}"
        return answer

    models = importlib.import_module("gateway_client.models")
    flat = ask("flat", intercom=1, flat=1).parsed
    assert flat.keys[0].key == "0000003042CAAC" and flat.users[0].login
    assert ask("flatByPost", intercom=1, flat=1).parsed == flat
    assert ask("flat", intercom=1, flat=99).status_code == 422
    assert ask("flat", by=stranger, intercom=1, flat=1).status_code == 401
    page = ask("flats", intercom=1, per_page=1).parsed
    assert len(page.data) == 1 and page.meta.total >= 2
    keys = ask("keys", intercom=1, search="3042").parsed
    assert keys.data[0].flat.flat == 1
    assert ask("searchFlats", search="1").parsed.data
    assert ask("openDoor", intercom=1, body=models.OpenDoor(panel="entrance-1", duration=0.5)).status_code == 204
    refused = ask("openDoor", intercom=1, body=models.OpenDoor(panel="nowhere"))
    assert refused.status_code == 422 and refused.parsed.code == "unknown_panel", refused
    assert ask("openDoor", by=reader, intercom=1, body=models.OpenDoor()).status_code == 403
    assert {row.state for row in ask("panels").parsed.data} == {"online"}
    assert ask("identifyPanel", panel="entrance-1", body=models.Identify(for_=0.5)).status_code == 204
    assert len(ask("lines", intercom=1).parsed.data) == 20
    assert ask("measureLine", intercom=1, flat=1).parsed.state == "on_hook"
    items = ask("commissioning").parsed
    by_hand = next(item for item in items.items if item.by_hand)
    assert ask("confirm", item=by_hand.id).status_code == 200
    events = ask("events", limit=1000).parsed.data
    assert events[-1].to_dict()["dataschema"] == "urn:intercom-gateway:event:1"
    assert ask("self").parsed.gateway == "building-7"
    assert {bus.protocol for bus in ask("buses").parsed.data} == {"osdp", "modbus"}
    assert ask("outbox").parsed and ask("sync").parsed.revision
    assert ask("health").parsed.status and ask("health", by=stranger).parsed.status
    for operation in ("page", "security", "metrics", "openapi"):
        assert ask(operation).status_code == 200, operation
    asset = ask("page").content.decode().split('src="/assets/', 1)[1].split('"', 1)[0].split("/", 1)
    assert ask("asset", hash_=asset[0], path=asset[1]).status_code == 200
    refused = ask("stream", watch="nowhere")
    assert refused.status_code == 422 and "watch" in refused.parsed.errors.to_dict(), refused
    strangers(building)
    frames = stream(building, models)
    rest = {operation for _, _, operation in operations()} - asked
    assert not rest, f"never asked: {sorted(rest)}"
    return f"{len(asked)} operations, {frames} frames of the stream"


def strangers(building):
    """Asks every operation without a token, and with a wrong one; what is open to everybody answers."""
    open_to_all = {"page", "security", "asset", "health"}
    for path, method, operation in operations():
        url = building.url + re.sub(r"\{\w+\}", "1", path)
        for headers in ({}, {"Authorization": "Bearer nobody"}):
            answer = httpx.request(method, url, headers=headers)
            refused = answer.status_code in (401, 429)
            assert refused == (operation not in open_to_all), f"{operation}: {answer.status_code}"
    assert panels_are_online(building), "a good token passes where wrong ones came too fast"


def same(made, sent):
    """Whether two values are the same but for how a moment is written."""
    if isinstance(made, dict) and isinstance(sent, dict):
        return made.keys() == sent.keys() and all(same(made[name], sent[name]) for name in made)
    if isinstance(made, list) and isinstance(sent, list):
        return len(made) == len(sent) and all(map(same, made, sent))
    if isinstance(made, str) and made.endswith("+00:00"):
        return made.removesuffix("+00:00").rstrip("0").rstrip(".") == sent.removesuffix("Z").rstrip("0").rstrip(".")
    return made == sent


def panels_are_online(building):
    answer = httpx.get(building.url + "/api/local/v1/panels", headers={"Authorization": f"Bearer {building.token}"})
    return answer.status_code == 200 and all(row["state"] == "online" for row in answer.json()["data"])


def stream(building, models):
    """Reads the stream until each of its kinds but the last has come, and returns how many frames that were."""
    types = {"panel": "PanelShown", "line": "LineShown", "bus": "Bus", "health": "HealthShown", "event": "Event",
             "sample": "Sample", "gap": "Gap"}
    wanted, count, kind = set(types), 0, None
    headers = {"Authorization": f"Bearer {building.token}", "Last-Event-ID": "00000000-1"}
    with httpx.stream("GET", building.url + "/api/local/v1/stream?watch=1/1", headers=headers, timeout=30) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                sent = json.loads(line.removeprefix("data: "))
                typed = getattr(models, types[kind]).from_dict(sent)
                assert same(typed.to_dict(), sent), line
                count += 1
                wanted.discard(kind)
                if not wanted:
                    return count
    raise AssertionError(f"the stream ended without {wanted}")
