"""Shows that the tests would find a bug: builds the engine with each planted one (rust/planted.rs), and runs the suites.

No suite has a test for one bug alone. A bug that no suite notices fails this script. Each is tried by some
random lives first, then by the suites in the order below, until one fails; which one is printed. Called by `make mutants`; arguments
name bugs, all are tried without.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Suite, the tests of it to run, its settings.
SUITES = (
    ("torture", "nothing_promised", {"TORTURE_SEEDS": "500"}),
    ("format", "", {}),
    ("log", "", {}),
    ("edges", "", {}),
    ("future", "", {}),
    ("torture", "nothing_promised", {"TORTURE_SEEDS": "10000"}),
    ("torture", "enumeration", {}),
    ("damage", "", {}),
)
PATIENCE_S = 600


def planted() -> list[str]:
    """The names of all bugs, as rust/planted.rs lists them."""
    return re.findall(r"^    /// `([a-z-]+)`:", (ROOT / "rust/planted.rs").read_text(encoding="utf-8"), re.MULTILINE)


def build() -> dict[str, str]:
    """Builds the suites with the bugs in; the executable of each by its name."""
    command = ["cargo", "test", "--locked", "--no-run", "--features", "simulation,planted", "--message-format=json"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        message["target"]["name"]: message["executable"] for message in messages if message.get("executable")
    }


def is_noticed(executable: str, tests: str, settings: dict[str, str], bug: str) -> bool:
    """Whether the suite fails with the bug in; a suite that hangs has noticed it too."""
    environment = os.environ | settings | {"ARESBUS_PLANTED": bug, "RUST_BACKTRACE": "0"}
    try:
        done = subprocess.run([executable, tests], cwd=ROOT, env=environment, capture_output=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def main(wanted: list[str]) -> int:
    """Tries the bugs; the number of those that nobody noticed."""
    executables = build()
    unnoticed = 0
    for bug in wanted or planted():
        start = time.monotonic()
        by = next(
            (
                f"{suite} {tests}".strip()
                for suite, tests, settings in SUITES
                if is_noticed(executables[suite], tests, settings, bug)
            ),
            None,
        )
        unnoticed += by is None
        print(f"{bug:24} {by or 'NOT NOTICED':28} {time.monotonic() - start:6.1f} s", flush=True)
    return unnoticed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
