"""The check of instructions: what passes, what fails, what is said where nothing can be counted. Counting is `make instructions`."""

import json
import platform
import subprocess
import sys

import callgrind
import instructions
import pytest
from aresbus.benchmark import payloads

COMMITTED = json.loads(instructions.BASELINES.read_text(encoding="utf-8"))
BASELINE = {"control": 8_000, "append": 1_000, "read": 2_000}
HERE = {instructions.kind(): {"made_with": "that build", "instructions": BASELINE}}


def faults(counts):
    return {line.name: line.fault for line in instructions.compare(BASELINE, counts) if line.fault}


@pytest.mark.parametrize("append", [950.1, 1_000, 1_049.9])
def test_within_five_percent_passes(append):
    assert faults(BASELINE | {"append": append}) == {}


@pytest.mark.parametrize(
    ("append", "fault"), [(1_050.1, "slower"), (3_000, "slower"), (949.9, "faster: renew the baseline")]
)
def test_beyond_five_percent_fails_both_ways(append, fault):
    assert faults(BASELINE | {"append": append}) == {"append": fault}


def test_what_has_no_baseline_and_what_is_not_counted_any_more_fails():
    assert faults(BASELINE | {"publish": 1}) == {"publish": "no baseline"}
    assert faults({"control": 8_000, "append": 1_000}) == {"read": "not counted any more"}


def test_a_fault_is_told_in_its_line(capsys):
    assert instructions.check(HERE, BASELINE)
    assert "slower" not in capsys.readouterr().out
    assert not instructions.check(HERE, BASELINE | {"append": 1_200})
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines() if "slower" in line] == [
        ["append", "1,000", "1,200", "+20.0%", "slower"]
    ]
    assert instructions.RENEW in out


def test_on_another_build_of_the_interpreter_nothing_is_compared(capsys):
    """The control runs none of our code."""
    assert instructions.check(HERE, {name: value * 0.8 for name, value in BASELINE.items()})
    assert "NOT CHECKED: the control" in capsys.readouterr().out


@pytest.mark.parametrize("is_held", [True, False])
def test_a_missing_baseline_fails_where_ci_runs_alone(is_held, monkeypatch, capsys):
    monkeypatch.setattr(instructions, "CHECKED_BY_CI", instructions.kind() if is_held else "elsewhere")
    assert instructions.check({}, BASELINE) is not is_held
    assert "NOT CHECKED: no baseline" in capsys.readouterr().out


def test_a_new_baseline_leaves_those_of_others(tmp_path, monkeypatch):
    monkeypatch.setattr(instructions, "BASELINES", tmp_path / "instructions.json")
    monkeypatch.setattr(instructions, "tools", lambda: "these tools")
    other = {"CPython 3.99, riscv64": {"made_with": "those tools", "instructions": {"append": 1}}}
    instructions.update(dict(other), {"append": 999.6})
    written = json.loads((tmp_path / "instructions.json").read_text(encoding="utf-8"))
    assert written == other | {
        instructions.kind(): {"made_with": "these tools", "instructions": {"append": 1_000}}
    }


def test_without_valgrind_it_says_that_nothing_was_checked(tmp_path):
    done = subprocess.run(
        [sys.executable, str(instructions.BENCHES / "instructions.py"), "--bring"],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "NOT CHECKED: valgrind is not installed, and there is no apt-get" in done.stdout


@pytest.mark.parametrize(
    ("answers", "is_brought"),
    [([True], True), ([False, True, True], True), ([False, True, False], False), ([False, False], False)],
)
def test_valgrind_is_installed_with_new_lists_only_where_the_old_do_not_do(answers, is_brought, monkeypatch):
    asked = []
    monkeypatch.setattr(
        callgrind.shutil, "which", lambda tool: None if tool == "valgrind" else f"/bin/{tool}"
    )
    monkeypatch.setattr(callgrind.os, "geteuid", lambda: 0)
    monkeypatch.setattr(callgrind, "_done", lambda command: asked.append(command) or answers[len(asked) - 1])
    if is_brought:
        callgrind.bring_valgrind()
    else:
        with pytest.raises(callgrind.NotCountedError, match="fails"):
            callgrind.bring_valgrind()
    assert asked == [callgrind.INSTALL, callgrind.UPDATE, callgrind.INSTALL][: len(answers)]


def test_who_may_not_install_is_told(monkeypatch):
    monkeypatch.setattr(callgrind.shutil, "which", lambda tool: "/bin/apt-get" if tool == "apt-get" else None)
    monkeypatch.setattr(callgrind.os, "geteuid", lambda: 1000)
    with pytest.raises(callgrind.NotCountedError, match="only root may"):
        callgrind.bring_valgrind()


def test_every_second_part_is_a_count(tmp_path):
    for part, total in enumerate((900, 100, 900, 50), 1):
        (tmp_path / f"counts.{part}-01").write_text(f"part: {part}\nsummary: {total}\n", encoding="utf-8")
    (tmp_path / "counts.2-02").write_text("part: 2\nsummary: 7\n", encoding="utf-8")
    assert callgrind.read_counts(tmp_path, [("append", 10), ("read", 5)]) == {"append": 10, "read": 10}
    with pytest.raises(RuntimeError, match="4 calls of getpgrp for 1 counts"):
        callgrind.read_counts(tmp_path, [("append", 10)])


def test_all_that_is_counted_has_a_baseline():
    """The program itself runs without callgrind, too."""
    done = subprocess.run(
        [sys.executable, str(instructions.PROGRAM)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    names = [name for name, _ in json.loads(done.stdout)]
    assert instructions.CONTROL in names
    for baseline in COMMITTED.values():
        assert list(baseline["instructions"]) == names


def test_ci_has_a_baseline():
    assert instructions.CHECKED_BY_CI in COMMITTED
    if sys.version_info[:2] == (3, 11) and platform.machine() == "x86_64":
        assert instructions.kind() == instructions.CHECKED_BY_CI


def test_the_book_has_the_size_that_is_claimed():
    import orjson

    assert {len(orjson.dumps(book)) for book in payloads.distinct_books(100)} == {payloads.BOOK_BYTES}
