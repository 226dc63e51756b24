"""``aresbus repair``: a lost META rebuilt, or a damaged log ended where it last reads.

Owns what is said. The work is the engine's. Invariant: without ``--accept-loss`` no event is given up.
"""

from argparse import Namespace

from aresbus import _core
from aresbus.cli.terminal import counted, size, write_json
from aresbus.log import open as open_log
from aresbus.repairing import repair
from aresbus.reports import Loss, RepairReport

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Repair; 1 where ``--dry-run`` found something to give up."""
    if arguments.accept_loss:
        return _accept_loss(arguments)
    report = repair(arguments.log, reason=arguments.reason)
    if arguments.json:
        write_json({"log": arguments.log, **report})
    else:
        _tell(report)
    return 0


def _tell(report: RepairReport) -> None:
    if report["damage"] is None:
        print("META serves: nothing was changed. `aresbus verify` says what else is wrong, if anything is.")
        return
    print(f"META was rebuilt: {report['damage']}")
    if report["kept"] is not None:
        print(f"  the one before is kept as quarantine/{report['kept']}")
    for line in report["derived"]:
        print(f"  {line}")


def _accept_loss(arguments: Namespace) -> int:
    # First whether there is anything to give up: opening for writing would make a log where none is.
    loss = _core.assess_loss(arguments.log)
    if loss is not None and not arguments.dry_run:
        with open_log(arguments.log, recover="accept_loss", reason=arguments.reason) as log:
            loss = log.recovery["loss"]
    if arguments.json:
        write_json({"log": arguments.log, "dry_run": arguments.dry_run, "loss": loss})
    elif loss is None:
        print("nothing is damaged: nothing is given up")
    else:
        _tell_loss(loss, "would be given up" if arguments.dry_run else "given up")
    return 1 if arguments.dry_run and loss is not None else 0


def _tell_loss(loss: Loss, verb: str) -> None:
    if loss["last_seq"] is None:
        events = f"events from seq {loss['first_seq']} on {verb}; how many there were is not known"
    else:
        events = f"{counted(loss['events'], 'event')} {verb}, seq {loss['first_seq']} to {loss['last_seq']}"
    print(events)
    print(f"  damage: {loss['path']}:{loss['offset']}: {loss['reason']}")
    print(f"  {loss['readable']:,} of them still read: aresbus salvage --quarantine")
    where = f" in quarantine/: {', '.join(loss['quarantine_files'])}" if loss["quarantine_files"] else ""
    print(f"  {size(loss['bytes'])} set aside{where}")
