"""The project's own files agree with each other: one version, pinned tools, help for every target, reasons for exceptions."""

import re
import tomllib
from pathlib import Path

import aresbus
import pytest
from aresbus import _core

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PYPROJECT_TEXT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads(PYPROJECT_TEXT)
CARGO_TEXT = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
CARGO = tomllib.loads(CARGO_TEXT)


def test_the_version_stands_in_cargo_toml_alone():
    version = CARGO["package"]["version"]
    assert "version" in PYPROJECT["project"]["dynamic"]
    assert aresbus.__version__ == _core.__version__ == version
    assert re.search(
        rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )


def test_every_target_is_listed_by_help():
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    listed = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    assert set(phony.group(1).split()) - {"tools"} == listed


def test_ci_calls_only_make_targets():
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line and not line.startswith(("#", "set ", "cd "))]
    assert commands
    assert all(re.fullmatch(r"make [a-z-]+( [A-Z]+=[0-9]+)*", command) for command in commands)


def test_the_last_word_of_make_test_is_a_test_runners():
    """Who reads only the end of a log of CI should see what was tested."""
    targets = re.search(r"^test: (.*?) ##", MAKEFILE, re.MULTILINE)
    assert targets
    assert targets.group(1).split()[-1] == "test-python"


@pytest.mark.parametrize("group", PYPROJECT["dependency-groups"])
def test_tools_are_pinned(group):
    for requirement in PYPROJECT["dependency-groups"][group]:
        assert re.fullmatch(r"[A-Za-z0-9-]+==[0-9.]+", requirement)


@pytest.mark.parametrize("table", ["ignore = [", '"**/*.pyi" = [', '"tests/**" = ['])
def test_every_exception_from_ruff_has_a_reason(table):
    body = PYPROJECT_TEXT.split(table)[1].split("\n]")[0]
    for line in body.strip().splitlines():
        assert re.fullmatch(r'\s*(?:"[A-Z0-9]+",\s*)+# .+', line), line


def test_every_licence_is_the_same():
    assert PYPROJECT["project"]["license"] == CARGO["package"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_rust_tests_are_known_to_cargo():
    """Cargo finds tests/*.rs by itself, but ours lie deeper: a forgotten entry would never run."""
    files = {file.relative_to(ROOT).as_posix() for file in (ROOT / "tests" / "rust").glob("*.rs")}
    assert files == {entry["path"] for entry in CARGO.get("test", [])}
