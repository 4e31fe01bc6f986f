"""What the pages show runs, and does what they say.

A block of `>>>` examples is a doctest. A block that begins with `# name.py` is a file of that name;
the console blocks of the page that mention it are run by bash, and must print what is shown.
Other blocks of a page are one program, from the first to the last; a `print` in it with a comment
must print the comment. Each page runs in processes and in a directory of its own.
"""

from __future__ import annotations

import doctest
import inspect
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from treadle import errors

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

#: Pages whose examples another test runs, and which one.
ELSEWHERE = {
    "README.md": "tests/architecture/test_words.py",
    "docs/howto/apps.md": "tests/integration/test_bash_howto.py",
    "docs/howto/files.md": "tests/integration/test_staging_howto.py",
    "docs/howto/memoization.md": "tests/integration/test_memo_howto.py",
}

#: Its blocks are parts of a program that is run whole.
EXAMPLE = "docs/howto/example-index.md"

PAGES = [
    page
    for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("howto/*.md")))
    if "```python" in page.read_text(encoding="utf-8")
    and str(page.relative_to(ROOT)) not in {*ELSEWHERE, EXAMPLE}
]

#: For one page.
LIMIT_S = 90
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAME = re.compile(r"# (\w+\.py)\n")
SHOWN = re.compile(r"^\s*print\(.*\)\s+# (.+)$", re.MULTILINE)
KILLED = re.compile(r"^bash: line \d+: +\d+ Killed .*$", re.MULTILINE)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run(command: list[str], folder: Path) -> str:
    """Run it to its end; returns stdout and stderr as they came."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    environment = {**os.environ, "PATH": path, "PYTHONWARNINGS": "error"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            output, _ = process.communicate(timeout=LIMIT_S)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return output if process.returncode == 0 else f"{output}(exit code {process.returncode})\n"


def blocks(page: Path) -> tuple[str, dict[str, str], list[str]]:
    """The one program of a page, its named files, and its console blocks that use them."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    python = [text for kind, text in found if kind == "python" and not text.startswith(">>>")]
    files = {name[1]: text for text in python if (name := NAME.match(text))}
    program = "".join(text for text in python if not NAME.match(text))
    consoles = [
        text
        for kind, text in found
        if kind == "console" and any(f"python {name}" in text for name in files)
    ]
    return program, files, consoles


def check_console(block: str, folder: Path) -> None:
    """Run each command of a console block and compare what it prints."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        printed = KILLED.sub("Killed", run(["bash", "-c", command], folder))
        matches = doctest.OutputChecker().check_output(shown, printed, FLAGS)
        assert matches, f"$ {command}\nshown:\n{shown}\nprinted:\n{printed}"


def check_program(program: str, folder: Path) -> None:
    """Run the program of a page; what comments promise is printed, in that order."""
    (folder / "page.py").write_text(program, encoding="utf-8")
    printed = run([sys.executable, "page.py"], folder)
    assert "(exit code" not in printed, printed
    lines = iter(printed.splitlines())
    for promised in SHOWN.findall(program):
        assert promised in lines, f"{promised!r} is not printed (in its place):\n{printed}"


@pytest.mark.timeout(LIMIT_S + 30)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_runs(page: Path, tmp_path: Path) -> None:
    program, files, consoles = blocks(page)
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert any(f"python {name}" in block for block in consoles), f"{name} is never run"
    for block in consoles:
        check_console(block, tmp_path)
    if program:
        check_program(program, tmp_path)
    if ">>> " in page.read_text(encoding="utf-8"):
        assert run([sys.executable, "-m", "doctest", "-o", "ELLIPSIS", str(page)], tmp_path) == ""


def test_the_pages_left_out_are_run_elsewhere() -> None:
    for page, test in ELSEWHERE.items():
        assert (ROOT / page).exists()
        assert Path(page).name.lower() in (ROOT / test).read_text(encoding="utf-8").lower()


def test_the_explained_example_is_quoted_as_it_is() -> None:
    source = (ROOT / "examples" / "stdlib_index.py").read_text(encoding="utf-8")
    page = (ROOT / EXAMPLE).read_text(encoding="utf-8")
    quoted = [text for kind, text in BLOCK.findall(page) if kind == "python"]
    assert len(quoted) > 5
    assert [text for text in quoted if text not in source] == []


def test_every_error_is_on_its_page() -> None:
    page, _, _ = (DOCS / "errors.md").read_text(encoding="utf-8").partition("## Not ours")
    explained = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    classes = {
        name
        for name, thing in vars(errors).items()
        if inspect.isclass(thing) and thing.__module__ == errors.__name__ and thing.__name__ == name
    }
    assert explained == classes


def test_every_howto_is_in_their_list() -> None:
    listed = set(
        re.findall(r"\]\((\S+\.md)\)", (DOCS / "howto" / "index.md").read_text(encoding="utf-8"))
    )
    assert listed >= {page.name for page in DOCS.glob("howto/*.md")} - {"index.md"}
