"""Every operation of the endpoint under good and bad input that schemathesis makes, against a full building."""

import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.parse

from answers import DOCUMENT, ENDLESS, operations

# Two unlocks a second are what a token may have, beyond twenty at once.
PACED = {"openDoor"}

# An asset's path has a hash in it, which nobody guesses.
NEVER_GOOD = {"asset"}

# Not `positive_data_acceptance`, for a flat that does not exist is a 422; nor `ignored_auth`, whose wrong tokens are
# answered by 429 soon: answers.py asks every operation with one.
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
]


def check(building, folder):
    every = {operation for _, _, operation in operations()} - ENDLESS
    run(building, folder, every - PACED, "quick", ["--max-examples", "100"])
    run(building, folder, PACED, "paced", ["--max-examples", "20", "--rate-limit", "2/s"])
    statuses = collections.defaultdict(collections.Counter)
    for report in ("quick", "paced"):
        count(folder / f"{report}.har", statuses)
    assert set(statuses) == every, every - set(statuses)
    for operation, seen in statuses.items():
        good, bad = (sum(seen[status] for status in seen if status // 100 == hundred) for hundred in (2, 4))
        assert good or operation in NEVER_GOOD, f"{operation} was never answered: {dict(seen)}"
        assert seen[429] * 4 <= good + bad, f"{operation}: the limits hide the rest: {dict(seen)}"
    total = sum(statuses.values(), collections.Counter())
    by_status = ", ".join(f"{status}: {number}" for status, number in sorted(total.items()))
    return f"{len(every)} operations, {sum(total.values())} requests ({by_status})"


def run(building, folder, names, report, more):
    program = pathlib.Path(sys.executable).with_name("schemathesis")
    words = [program, "run", DOCUMENT, "--url", building.url, "--header", f"Authorization: Bearer {building.token}"]
    words += ["--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--mode", "all", "--seed", "1"]
    words += ["--continue-on-failure", "--request-timeout", "20", "--no-color", "--generation-database", "none"]
    words += ["--report", "har", "--report-har-path", folder / f"{report}.har", *more]
    for name in sorted(names):
        words += ["--include-operation-id", name]
    hooks = {"SCHEMATHESIS_HOOKS": "leave_out", "PYTHONPATH": str(pathlib.Path(__file__).parent)}
    found = subprocess.run(list(map(str, words)), capture_output=True, text=True, cwd=folder, env=os.environ | hooks)
    assert found.returncode == 0, found.stdout[-20000:] + found.stderr


def count(har, statuses):
    """Counts which operation was answered by which status."""
    templates = [
        (method.upper(), re.compile(re.sub(r"\{(\w+)\}", lambda name: rest(name[1]), path) + "$"), operation)
        for path, method, operation in operations()
    ]
    for entry in json.loads(har.read_text())["log"]["entries"]:
        path = urllib.parse.urlsplit(entry["request"]["url"]).path
        for method, template, operation in templates:
            if method == entry["request"]["method"] and template.match(path):
                statuses[operation][entry["response"]["status"]] += 1


def rest(name):
    return ".+" if name in ("path", "item") else "[^/]+"
