"""Shows that the tests would find a bug: builds the engine with each planted one (rust/planted.rs), and runs the suites.

No suite has a test for one bug alone. A bug that no suite notices fails this script. Each is tried by some random
lives first, then by the suites in the order below, until one fails; which one is printed. What only another order of
threads shows goes to the model checkers at once, what only an end in the middle of a rescue shows to those ends. Called
by `make mutants`; arguments name bugs, all are tried without.
"""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE_S = 900


@dataclass(frozen=True)
class Suite:
    """Tests of one binary, built with some features beside the bugs, and how long they are to look."""

    binary: str
    tests: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    features: str = "simulation"

    def __str__(self) -> str:
        """As it is printed."""
        return " ".join([self.binary, self.tests, *self.settings.values()]).strip()


IN_ORDER = (
    Suite("torture", "nothing_promised", {"TORTURE_SEEDS": "500"}),
    Suite("format"),
    Suite("log"),
    Suite("edges"),
    Suite("future"),
    Suite("reading"),
    Suite("sealed"),
    Suite("torture", "nothing_promised", {"TORTURE_SEEDS": "10000"}),
    Suite("torture", "enumeration"),
    Suite("damage"),
)
SHUTTLE = Suite("shuttle", features="shuttle")
RESCUE = Suite("torture", "rescue")
# Bugs that no other suite can meet: in the order of threads, with the models of the code they are in; in a rescue.
AT_ONCE = {
    "copy-not-synced": RESCUE,
    "old-meta-not-kept": RESCUE,
    "heads-after-meta": RESCUE,
    "successor-not-zeroed": Suite("loom", "commit", features="loom"),
    "relaxed-commit": Suite("loom", "commit", features="loom"),
    "relaxed-read": Suite("loom", "commit", features="loom"),
    "torn-position": Suite("loom", "position", features="loom"),
    "resampled-position": Suite("loom", "durability", features="loom"),
    "relaxed-ring": Suite("loom", "bell", features="loom"),
    "bell-heard-late": Suite("loom", "bell", features="loom"),
    "sleeper-unheard": Suite("loom", "bell", features="loom"),
    "waiter-not-woken": SHUTTLE,
    "lost-wake": SHUTTLE,
    "wake-kept": SHUTTLE,
    "poison-unheard": SHUTTLE,
    "quiet-death": SHUTTLE,
    "wish-unheard": SHUTTLE,
    "turn-unheard": SHUTTLE,
}
# Need the binding: tests/python/test_gil_stress.py and test_hot_thread.py, run by `make mutants` too.
ELSEWHERE = {"gil-lock-order", "roll-calls-system", "pages-not-populated", "window-not-restored"}


def planted() -> list[str]:
    """The names of all bugs, as rust/planted.rs lists them."""
    text = (ROOT / "rust/planted.rs").read_text(encoding="utf-8")
    return [bug for bug in re.findall(r"^    /// `([a-z-]+)`:", text, re.MULTILINE) if bug not in ELSEWHERE]


def build(features: str) -> dict[str, str]:
    """Builds the suites with the bugs in; the executable of each by its name."""
    command = ["cargo", "test", "--locked", "--quiet", "--no-run", "--features", f"{features},planted"]
    targets = [] if features == "simulation" else ["--test", features]
    done = subprocess.run(
        [*command, *targets, "--message-format=json"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        message["target"]["name"]: message["executable"] for message in messages if message.get("executable")
    }


def is_noticed(executable: str, suite: Suite, bug: str) -> bool:
    """Whether a test fails with the bug in; a suite that hangs has noticed it too."""
    environment = os.environ | suite.settings | {"ARESBUS_PLANTED": bug, "RUST_BACKTRACE": "0"}
    command = [executable, suite.tests]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return True
    if done.returncode != 0 and b"test result: FAILED" not in done.stdout:
        sys.exit(f"{suite} broke off with {bug}:\n{done.stderr.decode()}")
    return done.returncode != 0


def main(wanted: list[str]) -> int:
    """Tries the bugs; the number of those that nobody noticed."""
    executables: dict[str, dict[str, str]] = {}
    unnoticed = 0
    for bug in wanted or planted():
        by = None
        for suite in (AT_ONCE[bug],) if bug in AT_ONCE else IN_ORDER:
            if suite.features not in executables:
                executables[suite.features] = build(suite.features)
            start = time.monotonic()
            if is_noticed(executables[suite.features][suite.binary], suite, bug):
                by = suite
                break
        unnoticed += by is None
        print(f"{bug:24} {by or 'NOT NOTICED'!s:36} {time.monotonic() - start:6.1f} s", flush=True)
    return unnoticed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
