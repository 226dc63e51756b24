"""``aresbus retention plan``: which segments would go by a policy, and what keeps the others.

Owns the table, which ``retention apply`` prints too. Opens the log for reading, so it answers while a bot runs.
"""

from argparse import Namespace

from aresbus.cli.terminal import count, counted, print_table, size, write_json
from aresbus.log import open as open_log
from aresbus.readable import printable
from aresbus.retention import RetentionPlan, RetentionPolicy

__all__ = ["policy_of", "print_plan", "run"]


def run(arguments: Namespace) -> int:
    """Print the plan."""
    with open_log(arguments.log, mode="r") as log:
        plan = log.retention_plan(policy_of(arguments))
    if arguments.json:
        write_json(plan.to_dict())
    else:
        print_plan(plan)
    return 0


def policy_of(arguments: Namespace) -> RetentionPolicy:
    """The policy that the options make. Raises ConfigError."""
    return RetentionPolicy(
        max_age_days=arguments.days, max_bytes=arguments.bytes, max_events=arguments.events
    )


def print_plan(plan: RetentionPlan) -> None:
    """A line for each segment that has expired, and one for all others."""
    expired = [one for one in plan.segments if one.expired]
    rows = [
        [
            str(one.number),
            f"{one.first_seq}-{one.last_seq}",
            size(one.file_bytes),
            "goes" if one.goes else "stays",
            printable(one.reason),
        ]
        for one in expired
    ]
    print_table(rows, heads=("segment", "events", "size", "", "why"), right=(0, 2))
    print(
        f"{counted(len(plan.drops), 'segment')} of {len(plan.segments)} would go: {count(plan.event_count)} events, "
        f"{size(plan.file_bytes)}; {counted(len(plan.segments) - len(expired), 'segment')} not expired"
    )
