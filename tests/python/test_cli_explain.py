"""Every error has its page, and the page can be found by code, number and name."""

import json
import re

import pytest
from aresbus.cli import main
from aresbus.cli.pages import PAGES
from aresbus.errors import ERRORS_BY_CODE

CODES = [f"AB{number:04}" for number in (*range(1, 19), 23)]


def test_each_error_class_has_its_page_and_each_page_its_class():
    concrete = {code for code in ERRORS_BY_CODE if code != "AB0000"}
    assert set(PAGES) == concrete
    assert sorted(PAGES) == CODES


@pytest.mark.parametrize("code", CODES)
def test_a_page_says_what_happened_what_it_means_and_what_to_do(code, capsys):
    assert main(["explain", code]) == 0
    page = capsys.readouterr().out
    assert page.startswith(f"{code}  {ERRORS_BY_CODE[code].__name__}\n")
    for heading in ("What happened", "What it means for your data", "What to do", "Fields of the exception"):
        assert f"\n{heading}\n" in page
    for field in ERRORS_BY_CODE[code].FIELDS:
        assert re.search(rf"\b{field}\b", page)


@pytest.mark.parametrize(
    "text", ["AB0006", "ab0006", "ab6", "6", "CorruptionError", "corruptionerror", " AB0006 "]
)
def test_a_page_is_found_by_code_number_and_name(text, capsys):
    assert main(["explain", text]) == 0
    assert capsys.readouterr().out.startswith("AB0006  CorruptionError\n")


@pytest.mark.parametrize("text", ["AB0099", "0", "AB", "Error", "AB0006x", ""])
def test_an_unknown_code_is_named_and_exits_with_2(text, capsys):
    assert main(["explain", text]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert repr(text) in captured.err


def test_without_a_code_all_are_listed(capsys):
    assert main(["explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == CODES


def test_pages_as_json(capsys):
    assert main(["explain", "AB0003", "--json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert page["class"] == "LogLockedError"
    assert page["bases"] == ["StorageError", "AresbusError", "OSError"]
    assert "pid" in page["fields"]
    assert main(["explain", "--json"]) == 0
    assert [page["code"] for page in json.loads(capsys.readouterr().out)] == CODES
