"""Options of the whole test run: where recorded captures are, if not in the package. Owns no fixture of a subject."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """``make captures DIR=…`` ends here."""
    parser.addoption(
        "--captures",
        type=Path,
        metavar="DIR",
        help="folder with recorded market days (*.gz) for test_captures.py; default: the slice in the package",
    )
