"""Every example of README and docs is executed; links, make targets and the site's table of contents lead somewhere."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import aresbus
import doc_runner
import pytest
from aresbus import NOT_YET, errors

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").glob("*.md")])
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
SET_UP = re.compile(r"(make|git clone|cd|pip install|PYTHON=\S+ make)\b")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def run(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(Path(doc_runner.__file__)), str(page)],
        check=False,
        cwd=folder,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_examples_run(page, tmp_path):
    languages = {block.language for block in doc_runner.blocks(page.read_text())}
    if not languages & {"python", "console"}:
        return
    done = run(page, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_example_hides_from_execution(page):
    """A block is executed, or it is plainly no example: set-up commands, text, a table of bytes."""
    found = list(doc_runner.blocks(page.read_text()))
    for block in found:
        if block.title:
            others = "\n".join(other.text for other in found if other is not block)
            assert re.search(rf"\b{Path(block.title).stem}\b", others), f"{block.title} is run by nothing"
            continue
        assert block.language in {"", "text", "python", "console", "sh", "toml", "hex"}, block
        if block.language == "sh":
            for line in block.text.splitlines():
                assert SET_UP.match(line), f"{name(page)}:{block.line}: use console for {line!r}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_make_targets_exist(page):
    named = re.findall(r"(?:^|`)(?:PYTHON=\S+ )?make ([a-z-]+)", page.read_text(), re.MULTILINE)
    assert set(named) <= MAKE_TARGETS


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_named_tests_exist(page):
    """`file::test` names a test, in Rust or in Python, that is there."""
    for file, test in re.findall(r"`(\w+\.(?:py|rs))::(\w+)`", page.read_text()):
        sources = [source.read_text() for source in (ROOT / "tests").rglob(file)]
        assert re.search(rf"\b(?:def|fn) {test}\(", "\n".join(sources)), f"{file}::{test}"


def test_each_fault_has_a_promise_for_each_mode_and_a_test():
    rows = [
        line for line in (ROOT / "docs/guarantees.md").read_text().splitlines() if line.startswith("| **")
    ]
    assert len(rows) >= 12
    for row in rows:
        fault, *promises, shown_by = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert len(promises) == 4, row
        assert all(len(promise) > 5 for promise in promises), fault
        assert re.search(r"`\w+\.(?:py|rs)::\w+`", shown_by), fault


PROMISED = (
    *("event sourcing", "audit trails", "replay from any point", "schema versioning"),
    *("backward compatibility", "forward compatibility", "several storage backends", "snapshots", "TTL"),
    *("compression", "metrics", "health checks", "correlation tracking", "error handling"),
    *("documentation", "examples"),
)


def test_each_promise_has_a_meaning_and_a_test_and_its_commands_exist():
    page = (ROOT / "docs/promises.md").read_text()
    rows = [line.strip("|").split(" | ") for line in page.splitlines() if line.startswith("| **")]
    assert [row[0].strip(" *") for row in rows] == list(PROMISED)
    for promise, meaning, shown_by in rows:
        assert len(meaning.split()) > 10, promise
        assert re.search(r"`\w+\.(?:py|rs)::\w+`", shown_by), promise
    for command in re.findall(r"`\$ aresbus ([^`]+)`", page):
        verb, *operands = command.split()
        folder = ROOT / "python/aresbus"
        assert (folder / f"cli/{verb}.py").exists(), command
        if verb == "example" and operands:
            assert (folder / f"examples/{operands[0]}.py").exists(), command


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{name(page)} links to {target}"


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=name)
def test_links_of_the_site_stay_on_the_site(page):
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text()):
        assert (page.parent / target).resolve().is_relative_to(DOCS), f"{name(page)} links to {target}"


def test_every_page_is_in_the_table_of_contents_once():
    _, contents = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")
    listed = re.findall(r"- (?:.*: )?(\S+\.md)$", contents, re.MULTILINE)
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def test_the_api_reference_has_every_public_name_once():
    """A module is named where all it gives belongs together: the errors."""
    named = [
        text
        for page in (DOCS / "api").glob("*.md")
        for text in re.findall(r"^::: aresbus\.(\S+)$", page.read_text(), re.MULTILINE)
    ]
    assert len(named) == len(set(named))
    modules = {"errors", "reports", "subscriptions.messages"}
    assert modules <= set(named)
    public = set(aresbus.__all__) - set(errors.__all__) - modules
    assert public - set(named) == set()


def test_troubleshooting_says_what_explain_says():
    """The command line and the site explain each error in the same words; `make docs` writes them."""
    page = (DOCS / "troubleshooting.md").read_text()
    shown = page.split("<!-- errors:begin -->\n")[1].split("<!-- errors:end -->")[0]
    assert shown == runpy.run_path(str(DOCS / "error_pages.py"))["error_pages"]()


def test_the_readme_has_examples():
    languages = {block.language for block in doc_runner.blocks((ROOT / "README.md").read_text())}
    assert {"python", "console"} <= languages


def test_the_readme_shows_every_key_without_effect():
    """Those that NOT_YET names and initialize() warns of: none any more."""
    assert not NOT_YET
    assert "Every key of the configuration works." in (ROOT / "README.md").read_text()


# The runner itself.


def write(folder: Path, text: str) -> Path:
    page = folder / "page.md"
    page.write_text(text)
    return page


def test_blocks_share_a_namespace_and_a_folder(tmp_path):
    page = write(
        tmp_path,
        "```python\nfrom pathlib import Path\nx = 'one'\n```\n"
        "```python\nPath('f').write_text(x)\n```\n"
        "```console\n$ cat f; echo\n$ echo a b c \\\n    d\na ... d\n```\n",
    )
    done = run(page, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_titled_block_is_a_file_for_the_commands(tmp_path):
    page = write(
        tmp_path,
        '```python title="bot.py"\nimport sys\nprint("ran", *sys.argv[1:])\n```\n'
        "```python\nassert 'sys' not in globals()\n```\n"
        "```console\n$ python bot.py once\nran once\n```\n",
    )
    done = run(page, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_failing_python_example_names_its_line(tmp_path):
    done = run(write(tmp_path, "text\n\n```python\nx = 1\nassert x == 2\n```\n"), tmp_path)
    assert done.returncode != 0
    assert 'page.md", line 5' in done.stderr


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ("$ false\n", "page.md:2: exit code 1"),
        ("$ true\n$ echo one\ntwo\n", "page.md:3: echo one"),
        ("$ printf 'a\\nb\\nc\\n'\na\n...\nd\n", "the page shows"),
    ],
)
def test_a_failing_console_example_names_its_line(tmp_path, block, says):
    done = run(write(tmp_path, f"```console\n{block}```\n"), tmp_path)
    assert done.returncode != 0
    assert says in done.stderr


def test_a_warning_fails_an_example(tmp_path):
    done = run(
        write(tmp_path, "```python\nimport warnings\nwarnings.warn('old', stacklevel=1)\n```\n"), tmp_path
    )
    assert done.returncode != 0


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("a\n", "a\n", True),
        ("a\n...\nd\n", "a\nb\nc\nd\n", True),
        ("a\n...\n", "a\n", True),
        ("seq ... of 9\n", "seq 3 of 9\n", True),
        ("a.b\n", "axb\n", False),
        ("a\n", "a\nb\n", False),
        ("a\n...\nd\n", "a\nb\n", False),
    ],
)
def test_output_is_compared(expected, actual, same):
    assert doc_runner.matches(expected, actual) is same
