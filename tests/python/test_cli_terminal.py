"""How results reach the eye: numbers with units, columns, the progress line, the one line of an error."""

import errno
import io
import sys

import pytest
from aresbus.cli import terminal
from aresbus.cli.failure import error_line, error_object
from aresbus.errors import CorruptionError, LogLockedError


class Terminal(io.StringIO):
    """Text that takes itself for a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1023, "1,023 bytes"),
        (1024, "1.0 KiB"),
        (27_757_550, "26.5 MiB"),
        (2**50, "1,024.0 TiB"),
    ],
)
def test_sizes(number, text):
    assert terminal.size(number) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, "0 ns"), (999, "999 ns"), (18_300, "18.3 µs"), (2_500_000, "2.5 ms"), (90e9, "90.0 s")],
)
def test_durations(ns, text):
    assert terminal.duration(ns) == text


def test_counts():
    assert terminal.counted(1, "event") == "1 event"
    assert terminal.counted(41_249, "event") == "41,249 events"


def test_a_plain_table_lines_up(capsys):
    terminal.print_table([("a", 1), ("long", 1000)], heads=("what", "n"), right=(1,))
    assert capsys.readouterr().out == "  what     n\n  a        1\n  long  1000\n"
    terminal.print_table([])
    assert capsys.readouterr().out == ""


def test_on_a_terminal_a_table_says_the_same(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    terminal.print_table([("[red]name[/red]", "7")], heads=("what", "n"))
    assert "[red]name[/red]" in sys.stdout.getvalue()
    assert "7" in sys.stdout.getvalue()


def test_without_rich_a_terminal_gets_the_plain_table(monkeypatch):
    for name in [name for name in sys.modules if name == "rich" or name.startswith("rich.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr(sys, "stdout", Terminal())
    terminal.print_table([("a", "7")])
    assert sys.stdout.getvalue() == "  a  7\n"


def test_progress_is_drawn_on_a_terminal_and_taken_away(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with terminal.Progress() as progress:
        progress.tick(lambda: "half")
        progress.tick(lambda: pytest.fail("drawn twice within a tenth of a second"))
    assert sys.stderr.getvalue() == "\r\x1b[Khalf\r\x1b[K"


def test_progress_is_silent_elsewhere(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with terminal.Progress() as progress:
        progress.tick(lambda: pytest.fail("nobody sees it"))
    assert sys.stderr.getvalue() == ""


def test_an_error_is_one_line_with_code_and_advice():
    line = error_line(LogLockedError("/x is open\nin process 7", path="/x", pid=7))
    assert line.startswith("aresbus: [AB0003] /x is open in process 7. ")
    assert line.endswith("(more: aresbus explain AB0003)")
    assert "\n" not in line
    assert error_line(FileNotFoundError(errno.ENOENT, "No such file", "x")) == "aresbus: No such file: x"
    assert "bug in aresbus: KeyError" in error_line(KeyError("x"))


def test_an_error_for_programs_has_its_fields():
    shape = error_object(CorruptionError("bad", path="/x", offset=4096, reason="checksum"))["error"]
    assert (shape["kind"], shape["code"], shape["offset"], shape["reason"]) == (
        "CorruptionError",
        "AB0006",
        4096,
        "checksum",
    )
    assert error_object(OSError("odd"))["error"] == {
        "kind": "OSError",
        "code": None,
        "message": "odd",
        "advice": None,
    }
