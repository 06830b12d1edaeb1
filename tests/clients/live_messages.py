"""Everything that a building publishes, read by generated types, and answers and commands that they have written."""

import json
import uuid

from cloud import DOCUMENT, Cloud, Types, digest, generate

# What a building of simulated panels does not do by itself within a minute; their examples are read all the same.
SELDOM = {
    "gateway.clock.stepped",
    "gateway.journal.pruned",
    "intercom.panel.replaced",
}


def check(building, folder):
    """Lets everything happen that can, and returns how many messages of how many kinds were read."""
    messages = generate(folder)
    types = Types(messages)
    examples = read_examples(types)
    cloud = Cloud(building, types)
    try:
        building.start_gateway()
        live(building, cloud)
        building.stop_gateway()
        cloud.wait("gateway.stopping")
        cloud.wait("status", lambda status: status.status.value == "offline")
    finally:
        cloud.stop()
    assert not cloud.faults, "\n".join(cloud.faults)
    never = set(types.described) - cloud.names - SELDOM
    assert not never, f"never seen: {sorted(never)}"
    return f"{len(cloud.seen)} live messages of {len(cloud.names)} kinds, {examples} examples"


def read_examples(types):
    """Reads all examples; a type must take what a later version adds, and must not take another message."""
    count = 0
    for name, described in types.described.items():
        for example in described["examples"]:
            text = json.dumps(example["payload"])
            typed = types.named(name)
            typed.model_validate_json(text)
            typed.model_validate_json(json.dumps(more(example["payload"])))
            count += 1
    swipe = types.described["intercom.key.swiped"]["examples"][0]["payload"]
    types.named("intercom.key.swiped").model_validate_json(json.dumps(swipe | {"data": later(swipe["data"])}))
    try:
        types.named("intercom.code.entered").model_validate_json(json.dumps(swipe))
    except ValueError:
        return count
    raise AssertionError(f"{DOCUMENT}: a swipe passes for a code")


def word(listed):
    """Returns a word of a list that may grow: the generated type has it as text, whether it knows it or not."""
    return getattr(listed.root, "value", listed.root)


def later(data):
    return data | {"reason": "of_a_later_version"}


def more(value):
    """Returns a value with one more member in each of its objects."""
    if isinstance(value, dict):
        return {name: more(member) for name, member in value.items()} | {"of_a_later_version": [{}]}
    if isinstance(value, list):
        return [more(item) for item in value]
    return value


def live(building, cloud):
    happen = building.happen
    cloud.wait("syncState", lambda state: state.revision == cloud.revision and state.error is None)
    for panel in ("entrance-1", "garage", "risers"):
        cloud.wait("intercom.panel.online", lambda event: event.subject.root == panel)
    cloud.wait("intercom.panel.secured")
    cloud.wait("line", lambda line: word(line.state) == "on_hook")

    happen("card entrance-1 3042CAAC 32 0")
    opened = cloud.wait("intercom.door.unlocked", lambda event: word(event.data.by.kind) == "key")
    assert opened.dataschema == "urn:intercom-gateway:event:1"
    happen("input entrance-1 1 0 0 0")
    cloud.wait("intercom.door.opened")
    cloud.wait("intercom.door.held")
    happen("input entrance-1 0 0 0 0")
    cloud.wait("intercom.door.closed")
    happen("card entrance-1 11223399 32 0")
    cloud.wait("intercom.key.swiped", lambda event: word(event.data.reason) == "key_unknown")
    happen("key entrance-1 93552#")
    cloud.wait("intercom.code.entered", lambda event: event.data.decision.value == "granted")
    happen("key garage 12#")
    cloud.wait("intercom.keypad.entered")
    happen("local entrance-1 1 1")
    cloud.wait("intercom.panel.tamper")
    cloud.wait("intercom.panel.power")
    happen("input garage 1 0 0 0")
    cloud.wait("intercom.input.changed")
    happen("line risers 7 lifted")
    cloud.wait("intercom.line.changed", lambda event: word(event.data.to) == "off_hook")
    happen("row risers 2 dead on")
    cloud.wait("intercom.line.wiring")

    # Codes that nobody has, until the keypad is blocked: suspect.
    for code in range(70001, 70006):
        happen(f"key entrance-1 {code}#")
    cloud.wait("intercom.panel.suspect", lambda event: word(event.data.cause) == "codes")

    status = cloud.find("status")
    journal = {"journal": status.journal, "from": 1, "to": 3}
    for name, args in [
        ("unlock", {"panel": "entrance-1", "duration": 0.5}),
        ("measure_line", {"intercom": 1, "flat": 7}),
        ("replay", journal),
        ("report", {}),
        ("resync", {}),
        ("log_level", {"filter": "info", "for": 1}),
    ]:
        result = cloud.command(name, args)
        assert result.status.value == "done", f"{name}: {result}"
    assert cloud.command("unlock", {"intercom": 9}).status.value in ("failed", "rejected")
    assert cloud.command("unlock", {"panel": "entrance-1"}, expires=-5).status.value == "expired"

    # A change, and one that is wrong.
    current = cloud.revision
    changed = cloud.flats[-1] | {"flat": 42}
    cloud.flats = cloud.flats[:-1] + [changed]
    cloud.revision += 1
    messages = cloud.messages
    delta = messages.Delta(
        kind="delta", base=current, revision=cloud.revision, digest=digest(cloud.flats), upsert=[changed], remove=[]
    )
    cloud.send("sync/flats", delta)
    cloud.wait("syncState", lambda state: state.revision == cloud.revision)
    wrong = changed | {"intercom": 77}
    cloud.send("sync/flats", messages.Delta(kind="delta", base=cloud.revision, revision=cloud.revision + 1,
                                            digest=digest(cloud.flats), upsert=[wrong], remove=[]))
    cloud.wait("gateway.sync.rejected")
    ahead = messages.Committed(journal=status.journal, through=1_000_000)
    cloud.send("events/committed", ahead)
    cloud.wait("gateway.committed.ignored")
    unknown = messages.Current(kind="current", request=str(uuid.uuid4()), revision=1, digest=digest([]))
    cloud.send("sync/flats", unknown)

    happen("gone garage on")
    cloud.wait("intercom.panel.offline")
    failed = cloud.command("unlock", {"panel": "garage"})
    assert word(failed.error.code) == "panel_offline", failed
    cloud.wait("health", lambda health: health.status.value == "degraded")
    happen("gone garage off")
    happen("input entrance-1 1 0 0 0")
    cloud.wait("intercom.door.forced")
