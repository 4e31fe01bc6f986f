"""Check the news: every fragment is well named and not empty, and a change of `src/` brings one.

The second half needs a branch to compare with: TREADLE_BASE, or nothing is compared.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "newsfragments"
KINDS = ("headline", "breaking", "feature", "bugfix", "doc", "misc")
NAME = re.compile(rf"(\+?[A-Za-z0-9_-]+)\.({'|'.join(KINDS)})(\.\d+)?\.md")


def badly_formed() -> list[str]:
    """Say what is wrong with each fragment, if anything."""
    complaints = []
    for path in sorted(FOLDER.iterdir()):
        if path.name == "README.md" or path.name.startswith("."):
            continue
        if not NAME.fullmatch(path.name):
            complaints.append(f"{path.name}: is not <name>.<kind>.md, kind one of {KINDS}")
        elif not path.read_text(encoding="utf-8").rstrip().endswith((".", "`", ")")):
            complaints.append(f"{path.name}: is not a full sentence")
    return complaints


def missing(base: str) -> list[str]:
    """Ask for a fragment where `src/` changed since `base` and none was added."""
    command = ["git", "diff", "--name-only", f"{base}...HEAD"]
    changed = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    if any(name.startswith("src/") for name in changed) and not any(
        name.startswith("newsfragments/") for name in changed
    ):
        return [f"src/ changed since {base}, and newsfragments/ did not; see its README.md"]
    return []


def main() -> int:
    """Print the complaints; the exit status says whether there were any."""
    complaints = badly_formed()
    if base := os.environ.get("TREADLE_BASE"):
        complaints += missing(base)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
