"""The project speaks of itself alone, and what its README shows runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.house import ROOT

#: Paths of somebody's machine, numbers of somebody's tickets, promises of later work.
FOREIGN = re.compile(
    r"(?<![\w.}])/(?:work|root|home/\w+|Users/\w+)/"
    r"|\bissues? \#?\d+\b"
    r"|(?-i:\b(?:TO[D]O|FIX[M]E|X[X]X)\b)",
    re.IGNORECASE,
)
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".sh", ".cfg", ".txt", ".pyi", ""}
SKIPPED = {"LICENSE"}


def texts() -> list[Path]:
    """Every file of ours that is text: what git tracks or would."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        paths = [ROOT / line for line in done.stdout.splitlines()]
    else:  # an unpacked archive
        folders = ("src", "tests", "docs", "examples", "bench", "scripts")
        paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    return [p for p in paths if p.is_file() and p.suffix in TEXT and p.name not in SKIPPED]


def test_no_text_speaks_of_anything_but_the_project():
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match.group()}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (match := FOREIGN.search(line))
    ]
    assert found == []


def test_links_between_our_pages_lead_somewhere():
    broken = []
    for page in [path for path in texts() if path.suffix == ".md"]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)} -> {target}")
    assert broken == []


@pytest.mark.timeout(60)
def test_the_ten_lines_of_the_readme_run(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    script = tmp_path / "ten_lines.py"
    script.write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == re.findall(r"# (\d+)", program)
