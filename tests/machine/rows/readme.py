"""README's installation, run as it is written."""

import re

from building import CARD, PORT, SERVICE, Building
from machine import wait

SECTION = "Install"
# What a reader puts in by himself, and what it is here.
STAND_INS = (
    (r"(\./|dist/)*intercom-gateway_[\w.~*…-]*\.deb", "/root/{deb}"),
    (r"/dev/(serial/by-(id|path)/[\w.:…-]+|serial0|ttyUSB0|ttyAMA0|ttyS0)", PORT),
    (r"\b[0-9A-F]{14}\b", "000000" + CARD),
)


def blocks(text):
    """Returns the fenced blocks of ```sh in README's section, each with the number of its first line."""
    found, block, inside, fence = [], None, False, False
    for number, line in enumerate(text.splitlines(), 1):
        if not fence and re.match(r"## ", line):
            inside = line[3:].startswith(SECTION)
        if line.lstrip().startswith("```"):
            if inside and not fence and line.strip() == "```sh":
                indent = len(line) - len(line.lstrip())
                block = (number + 1, [])
            elif fence and block:
                found.append((block[0], "\n".join(block[1]) + "\n"))
                block = None
            fence = not fence
        elif block:
            block[1].append(line[indent:] if not line[:indent].strip() else line)
    return found


def rows(judge, asked):
    deb = asked.deb
    steps = blocks(asked.readme.read_text())
    with judge.row(f"{asked.readme.name} has a section {SECTION} with steps") as notes:
        notes.append(f"{len(steps)} blocks")
        assert steps, f"there is no ## {SECTION} with blocks of ```sh"
    if not steps:
        return
    with Building("readme", asked.deb) as building:
        machine = building.machine
        building.boot()
        machine.copy(deb, f"/root/{deb.name}", 0o644)
        # A reader does this at home, as the user that a Raspberry Pi's image has.
        machine.must(f"install -o anna -g anna -m 644 /root/{deb.name} /home/anna/")
        swipes = Swipes(building)
        for number, text in steps:
            first = text.strip().splitlines()[0]
            with judge.row(f"line {number}: {first}", machine) as notes:
                # Where a step shows what was read at the panel, somebody has presented a card before.
                if " journal" in text:
                    swipes.present()
                said = machine.must(_stood_in(text, deb), seconds=120, user="anna")
                notes.append((said.strip().splitlines() or ["says nothing"])[-1])
        with judge.row("after the last step: the card opens", machine):
            building.running()
            building.opens()
        with judge.row("after the last step: the service comes back at the next boot", machine):
            machine.reboot_after_power_cut()
            building.opens()
            assert machine.must(f"systemctl is-enabled {SERVICE}").strip() == "enabled"


class Swipes:
    """A card in front of the panel, before the gateway knows it."""

    def __init__(self, building):
        self.building = building

    def present(self):
        """Presents it until it is in the journal."""
        panel = self.building.panel
        wait("the panel's secure channel is up", panel.is_secure, 60)

        def read():
            panel.tell(f"card {panel.address} {CARD} 32 0")
            swipes = self.building.events("intercom.key.swiped")
            return swipes and swipes[-1]["data"]["reason"] != "stale"

        wait("the swipe is in the journal", read, 30, 2)


def _stood_in(text, deb):
    for pattern, instead in STAND_INS:
        text = re.sub(pattern, instead.format(deb=deb.name), text)
    # What a reader ends with Ctrl-C.
    follows = r"^(.*\bjournal(?:ctl)?\b.* (?:--follow|-\w*f\w*)\b.*)$"
    text = re.sub(follows, r"timeout 5 \1 || [ $? = 124 ]", text, flags=re.MULTILINE)
    return "set -e\n" + text
