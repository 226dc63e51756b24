"""The tree keeps its own rules: limits, one-way imports, places of unsafe code, names.

The rules are in tidy_rules.py. The first half of this file runs them over the tree, the second shows that each
rule finds what it is for, on planted text.
"""

from pathlib import Path

import pytest
import tidy_rules as rules

ROOT = Path(__file__).parents[2]
CODE = ("rust", "python", "tests", "benches", "examples", "fuzz/src", "fuzz/targets")
TEXT = {".rs", ".py", ".pyi", ".md", ".toml", ".sh", ".yml"}


def tree() -> dict[str, str]:
    """Every text file of ours, by its path from the root."""
    files = [file for folder in (*CODE, "docs", ".ci") for file in (ROOT / folder).rglob("*")]
    files += [*ROOT.glob("*"), *(ROOT / "fuzz").glob("*")]
    return {
        file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
        for file in files
        if file.is_file() and (file.suffix in TEXT or file.name in {"Makefile", "run"})
    }


TREE = tree()
RUST = {path: text for path, text in TREE.items() if path.endswith(".rs")}
ENGINE = {path: text for path, text in RUST.items() if path.startswith("rust/")}
PYTHON = {path: text for path, text in TREE.items() if path.endswith((".py", ".pyi"))}
PACKAGE = {path: text for path, text in PYTHON.items() if path.startswith("python/aresbus/")}


def report(findings: list[str]) -> None:
    assert not findings, "\n" + "\n".join(findings)


@pytest.mark.parametrize("rule", [rules.opening, rules.names])
def test_every_source_file_says_what_it_is(rule):
    report([finding for path, text in (RUST | PYTHON).items() for finding in rule(path, text)])


@pytest.mark.parametrize("rule", [rules.file_length, rules.function_length])
def test_production_code_keeps_the_limits(rule):
    limited = ENGINE | PACKAGE | {path: text for path, text in RUST.items() if path.startswith("fuzz/")}
    report([finding for path, text in limited.items() for finding in rule(path, text)])


@pytest.mark.parametrize("rule", [rules.unsafe_places, rules.rust_habits])
def test_the_engine_keeps_its_habits(rule):
    report([finding for path, text in ENGINE.items() for finding in rule(path, text)])


def test_rust_imports_point_one_way():
    report(
        [
            finding
            for path, text in ENGINE.items()
            if path != "rust/lib.rs"
            for finding in rules.direction(
                path, rules.rust_module(path)[0], rules.rust_imports(path, text), rules.RUST_LAYERS
            )
        ]
    )


def test_python_imports_point_one_way():
    """Examples are users of the package: they import as those do, and nothing imports them, since they have no layer."""
    report(
        [
            finding
            for path, text in PACKAGE.items()
            if not path.startswith("python/aresbus/examples/")
            for finding in rules.direction(
                path, rules.python_module(path), rules.python_imports(text), rules.PYTHON_LAYERS
            )
        ]
    )


def test_python_imports_are_absolute():
    report([finding for path, text in PACKAGE.items() for finding in rules.relative_imports(path, text)])


def test_nothing_is_left_over():
    report([finding for path, text in TREE.items() for finding in rules.leftovers(path, text)])


def test_the_tree_is_seen():
    """A walk that finds nothing would pass every rule."""
    assert {"rust/lib.rs", "rust/format/mod.rs"} <= set(ENGINE)
    assert {"python/aresbus/__init__.py", "python/aresbus/_core.pyi"} <= set(PACKAGE)
    assert {"README.md", "Makefile", "docs/glossary.md", ".ci/run", "fuzz/run"} <= set(TREE)


# The rules themselves, on planted text.

OPENING = "//! Owns the bytes of a record, knows no files, allocates nothing.\n"
DOCSTRING = '"""Owns the meaning of an event and knows no bytes at all."""\n'


def test_a_missing_opening_is_found():
    assert rules.opening("rust/log.rs", "use std::fs;\n")
    assert rules.opening("rust/log.rs", "//! Short.\n")
    assert rules.opening("python/aresbus/bus.py", "import os\n")
    assert not rules.opening("rust/log.rs", OPENING)
    assert not rules.opening("python/aresbus/bus.py", DOCSTRING)


def test_long_files_are_found_and_rust_tests_do_not_count():
    assert rules.file_length("rust/log.rs", "\n" * 401)
    assert not rules.file_length("rust/log.rs", "\n" * 400)
    assert not rules.file_length("rust/log.rs", "\n" * 300 + "#[cfg(test)]\nmod tests {" + "\n" * 300)
    assert rules.file_length("python/aresbus/bus.py", "\n" * 401)
    assert not rules.file_length("python/aresbus/_core.pyi", "\n" * 401)


def test_long_functions_are_found():
    body = "    let x = 1;\n" * 70
    assert rules.function_length("rust/log.rs", f"fn long(a: [u8; 4]) {{\n{body}}}\n")
    assert not rules.function_length("rust/log.rs", "fn short() {\n" + "    let x = 1;\n" * 68 + "}\n")
    assert rules.function_length("python/aresbus/bus.py", "def long():\n" + "    x = 1\n" * 70)
    assert not rules.function_length("python/aresbus/bus.py", "def short():\n" + "    x = 1\n" * 69)


def test_braces_in_text_do_not_end_a_function():
    body = '    let x = "}"; // }\n    let y = \'}\'; /* } /* } */ } */ let z = r#"}"}"#;\n' * 40
    assert rules.function_length("rust/log.rs", f"fn long<'a>(x: &'a str) {{\n{body}}}\n")


def test_a_declaration_has_no_body():
    text = "trait T {\n    fn one(&self);\n" + "    fn more(&self);\n" * 90 + "}\n"
    assert not rules.function_length("rust/vfs/mod.rs", text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("rust/format/record.rs", "use crate::log::Log;\n"),
        ("rust/format/record.rs", "use crate::{error::Error, tail::{Tail, Roll}};\n"),
        ("rust/format/mod.rs", "use super::scan;\n"),
        ("rust/format/record.rs", "fn f() { super::super::log::g() }\n"),
        ("rust/tail/mod.rs", "pub(crate) use crate::recovery as r;\n"),
        ("rust/error.rs", "impl From<crate::python::PyLog> for Error {}\n"),
        ("rust/novel.rs", "use crate::error::Error;\n"),
    ],
)
def test_an_import_against_the_grain_is_found_in_rust(path, text):
    imports = rules.rust_imports(path, text)
    assert rules.direction(path, rules.rust_module(path)[0], imports, rules.RUST_LAYERS)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("rust/log.rs", "use crate::{error::{Error, Result}, format::NewEvent, scan, vfs::Place};\n"),
        ("rust/format/record.rs", "use super::bytes;\nuse crate::format::names::Names;\n"),
        ("rust/error.rs", "use crate::config::Expected;\n"),
        ("rust/error.rs", '// use crate::log::Log;\nconst S: &str = "crate::log";\n'),
        ("rust/tail/mod.rs", "pub mod w;\n#[cfg(test)]\nmod tests {\n    use crate::log::Log;\n}\n"),
    ],
)
def test_an_import_with_the_grain_is_not_found_in_rust(path, text):
    imports = rules.rust_imports(path, text)
    assert not rules.direction(path, rules.rust_module(path)[0], imports, rules.RUST_LAYERS)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("python/aresbus/events.py", "from aresbus import bus\n"),
        ("python/aresbus/store.py", "import aresbus.subscriptions\n"),
        ("python/aresbus/store.py", "def f():\n    from aresbus.bus import EnhancedEventBus\n"),
        ("python/aresbus/testing/plugin.py", "from aresbus.cli import main\n"),
        ("python/aresbus/cli/demo.py", "from aresbus.examples import vwap\n"),
        ("python/aresbus/novel.py", "import os\n"),
    ],
)
def test_an_import_against_the_grain_is_found_in_python(path, text):
    module = rules.python_module(path)
    assert rules.direction(path, module, rules.python_imports(text), rules.PYTHON_LAYERS)


def test_an_import_with_the_grain_is_not_found_in_python():
    text = "import os\nfrom aresbus._core import Log\nfrom aresbus.events import Event\nfrom aresbus import Receipt\n"
    assert not rules.direction(
        "b.py", "bus", rules.python_imports(text) - {(4, "Receipt")}, rules.PYTHON_LAYERS
    )
    assert not rules.direction("b.py", "testing", rules.python_imports(text), rules.PYTHON_LAYERS)
    assert rules.relative_imports("b.py", "from . import events\n")


def test_unsafe_is_found_where_it_may_not_stand_or_is_not_argued():
    argued = "// SAFETY: the map outlives the view.\nlet x = unsafe { read(p) };\n"
    assert rules.unsafe_places("rust/log.rs", argued)
    assert rules.unsafe_places("rust/map.rs", "let x = unsafe { read(p) };\n")
    assert not rules.unsafe_places("rust/map.rs", argued)
    assert not rules.unsafe_places("rust/log.rs", '// unsafe\nlet x = "unsafe";\n')


def test_habits_are_found():
    assert rules.rust_habits("rust/log.rs", "let x = y.unwrap();\n")
    assert rules.rust_habits("rust/log.rs", 'let x = y.expect("z");\n')
    assert rules.rust_habits("rust/log.rs", "use pyo3::prelude::*;\n")
    assert rules.rust_habits("rust/python/mod.rs", "static mut X: u8 = 0;\n")
    assert not rules.rust_habits("rust/python/mod.rs", "use pyo3::prelude::*;\n")
    assert not rules.rust_habits("rust/log.rs", "#[cfg(test)]\nmod tests {\n    x.unwrap();\n}\n")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("python/aresbus/utils.py", ""),
        ("rust/common/mod.rs", ""),
        ("rust/log.rs", "struct EventStream;\n"),
        ("rust/log.rs", "fn stream_version() {}\n"),
        ("python/aresbus/bus.py", "class DeadLetters: ...\ndef dead_letter(): ...\n"),
    ],
)
def test_banned_names_are_found(path, text):
    assert rules.names(path, text)


def test_allowed_names_are_not_found():
    assert not rules.names(
        "rust/log.rs", "struct Aggregate;\nfn parked() {}\n// the stream of the exchange\n"
    )


def test_leftovers_are_found():
    assert rules.leftovers("README.md", "TO" + "DO: later")
    assert rules.leftovers("README.md", "see /home" + "/me/notes")
    assert not rules.leftovers("README.md", "storage at /var/lib/aresbus, ~/aresbus")
