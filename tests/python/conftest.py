"""Options of the whole test run: where recorded captures are, if not in the package. Owns no fixture of a subject."""

import signal
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """``make captures DIR=…`` ends here."""
    parser.addoption(
        "--captures",
        type=Path,
        metavar="DIR",
        help="folder with recorded market days (*.gz) for test_captures.py and test_replay_day.py; default: the slice in the package",
    )


def pytest_report_header(config: pytest.Config) -> str:
    """Say which data the run is about."""
    folder = config.getoption("captures")
    return (
        f"captures: {folder or 'the slice shipped in aresbus.market_day (--captures DIR takes whole days)'}"
    )


# A shell that starts the tests in the background lets them, and all their children, ignore Ctrl-C; some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)
