"""Holds the published documents, and the gateway, to what others' generators make of the documents.

check.py FOLDER: generated code goes there; it is not kept.
"""

import pathlib
import sys
import time

import answers
import every_operation
import live_messages
from building import Building


def main():
    folder = pathlib.Path(sys.argv[1])
    passed = 0
    with Building() as building:
        for what, check in [
            ("pydantic models and live messages", lambda: live_messages.check(building, folder)),
            ("generated client and live answers", lambda: answers.check(building, folder)),
            ("schemathesis, every operation", lambda: every_operation.check(building, folder)),
        ]:
            began = time.monotonic()
            try:
                found = check()
            except BaseException:
                print(f"what the gateway said last:\n{building.log()}", file=sys.stderr)
                raise
            passed += 1
            print(f"{what}: {found} ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"clients: {passed} passed, 0 failed")


main()
