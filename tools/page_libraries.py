"""Reads which libraries the installer's page has, from web/vendor."""

import re
import sys
from pathlib import Path

WEB = Path("web/vendor")
# What of each library is in the binary.
FILES = {"preact": ["preact.js", "hooks.js"], "htm": ["htm.js"], "uplot": ["uplot.js"]}


def libraries():
    """Returns name, version, files, holder of the copyright, licence, and npm's sum of the tarball."""
    found = []
    for line in (WEB / "npm.lock").read_text().splitlines():
        name, version, use, integrity = (line.split() + ["", "", "", ""])[:4]
        if name.startswith("#") or use != "vendored":
            continue
        text = (WEB / f"LICENSE-{name}").read_text()
        holder = re.search(r"^\s*Copyright (?:\(c\) )?(\d{4}.*)$", text, re.MULTILINE | re.IGNORECASE)
        found.append({
            "name": name,
            "version": version,
            "integrity": integrity,
            "files": [(WEB / file).as_posix() for file in FILES[name]],
            "holder": holder[1] if holder else sys.exit(f"LICENSE-{name} names nobody"),
            "license": "Apache-2.0" if "Apache License" in text else "MIT" if "MIT" in text else sys.exit(
                f"LICENSE-{name}: which licence is it?"),
        })
    return found
