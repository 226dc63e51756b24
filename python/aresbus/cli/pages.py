"""The page of each error code: what happened, what it means for your data, what to do.

Owns these texts and nothing else; a test holds that every error class has its page and no page lacks its class. Written
for someone who reads them at three in the morning: facts first, then commands.
"""

from dataclasses import dataclass

__all__ = ["PAGES", "Page"]


@dataclass(frozen=True)
class Page:
    """What is to be known of one error."""

    happened: str
    data: str
    to_do: tuple[str, ...]


PAGES: dict[str, Page] = {
    "AB0001": Page(
        "The operating system or the storage refused an operation. errno and path say which and where: a missing "
        "folder, missing permission, a read-only or a network file system, a device error.",
        "What was acknowledged before is safe. The event of this call was not stored, unless the error's committed is "
        "True: then it stands in the log at seq, and only whether it survives power loss is unknown.",
        (
            "Look at errno and path and mend the cause: ls -ld DIR, df DIR, dmesg.",
            "committed False: append again. committed True: do not, the event is there.",
            (
                "A network file system, btrfs or zfs is refused because locks or syncs cannot be trusted there; "
                "force_filesystem=True overrides that at your own risk."
            ),
        ),
    ),
    "AB0002": Page(
        "The disk has no room for the log's next segment, or for what opening has to write.",
        "Nothing acknowledged is lost and the log stays readable. The event of this call was not stored. A log that "
        "could not be opened for writing was not changed.",
        (
            "Free some space: df -h DIR, then du -sh DIR to see the log's own share.",
            "Repeat the call: appends go on by themselves once there is room, no restart is needed.",
            "A log needs room for about two segments ahead; a smaller segment_bytes needs less.",
        ),
    ),
    "AB0003": Page(
        "Another handle has the log open for writing, in another process or in this one. pid, host and started tell "
        "which. One log has one writer.",
        "Nothing was changed. The holder goes on undisturbed.",
        (
            "Only want to look? Open with mode='r'; any number of readers may.",
            "Else end the holder: ps -p PID, then stop it as it wants to be stopped.",
            (
                "Never delete the LOCK file. The kernel drops the lock when its holder dies, however it dies, so there is "
                "never a stale one."
            ),
            "The same pid as yours? Some object still holds the log: call close(), or use a with block.",
        ),
    ),
    "AB0004": Page(
        "A sync to disk failed, so this handle takes no more appends. After a failed sync the kernel may call lost "
        "pages clean; a later sync that succeeds would prove nothing.",
        "Reads go on. Everything up to durable_seq is on the disk. Events after it stand in the log of this machine, "
        "but may not survive power loss. If committed is True, the event of this call is among them.",
        (
            "Look at the disk first: dmesg, smartctl -a DEVICE, df DIR.",
            "Close the log and open it again: recovery writes what survived once more and believes only what it proves.",
            "Compare the recovery report with your own last acknowledged seq.",
        ),
    ),
    "AB0005": Page(
        "The log or bus was used after close() or stop(), or in a process forked from the one that opened it.",
        "Nothing was stored by this call. What was acknowledged before is safe.",
        (
            "Open the log again, or await bus.initialize().",
            (
                "After a fork the child opens its own handle, mode='r' while the parent writes; or start workers with the "
                "spawn method."
            ),
        ),
    ),
    "AB0006": Page(
        "Bytes that had been made durable are damaged or missing: a bad checksum, zeros where events stood, a file "
        "that is gone. path and offset say where, reason says what. The incomplete end that a crash leaves is no "
        "corruption and never raises this: it is cut, kept in quarantine/ and reported.",
        "Nothing was changed, and no damaged event is ever served. The log stays closed, for readers too, until it is "
        "whole again. This is the disk, the memory, or somebody's hand: the log never changes what it has stored.",
        (
            "Copy the folder as it is, before anything else: cp -a DIR DIR.damaged",
            "See all of it: aresbus verify DIR lists every finding with the events it touches.",
            "Make a log of a backup: aresbus restore BACKUP NEW. A backup itself is checked by aresbus verify BACKUP.",
            "Copy out what still reads, also behind the damage: aresbus salvage DIR OUT. It lists what does not.",
            "Only META is damaged? aresbus repair DIR makes it anew from the segments.",
            (
                "Go on without what lies behind the damage: aresbus repair DIR --accept-loss, or "
                "open(path, recover='accept_loss'). It goes to quarantine/, and what it was into the audit trail."
            ),
            "Check the machine: dmesg, smartctl -a DEVICE, a memory test.",
        ),
    ),
    "AB0007": Page(
        "A file in the log's folder has a format version or feature that this build cannot read, or is no file of "
        "aresbus at all. found and supported say which.",
        "Nothing was changed. The log is whole for the version that wrote it.",
        (
            "Use that version of aresbus or a newer one: pip install --upgrade aresbus.",
            "A foreign file at this place? Move it away; path names it.",
        ),
    ),
    "AB0008": Page(
        "The data cannot be stored as JSON: a type that JSON does not know, an integer past 64 bits, a key that is no "
        "text, half a surrogate pair, a cycle, or nesting without end. value_path names the value, like "
        "$.orders[3].qty. Bytes given as JSON that are none raise it too.",
        "Nothing was stored by this call; of a batch, nothing at all.",
        (
            "Convert the value at value_path. datetime, UUID, Enum, dataclass and NumPy values are taken as they are.",
            "Bytes that are no JSON: append_bytes(..., encoding='bytes').",
        ),
    ),
    "AB0009": Page(
        "Something is larger than the format or the configuration allows: what, got and limit say it in numbers.",
        "Nothing was stored by this call; of a batch, nothing at all.",
        (
            "Make it smaller: split a batch, put large attachments elsewhere and their address into the event.",
            "A payload or batch beyond one segment: raise segment_bytes.",
            "Types, sources and schema versions have at most 255 bytes of UTF-8, ids 1,024.",
        ),
    ),
    "AB0010": Page(
        "The configuration is wrong: an unknown key, a value of the wrong type, or an impossible one. problems lists "
        "each fault with what it got and what it takes.",
        "No log was opened and nothing was changed.",
        (
            "Correct every entry of problems; they are all there, not only the first.",
            "get_event_bus_config() shows all keys with their defaults.",
        ),
    ),
    "AB0011": Page(
        "The aggregate is not at the version the append expected: somebody else appended to it first. actual, "
        "conflicting_seq and conflicting_type describe what is there; of a batch, conflicts lists every check that failed.",
        "Nothing was stored by this call; of a batch, nothing at all. The other writer's event is good.",
        (
            "Load what happened since: log.read(aggregate_id=...), decide again, append with the actual version.",
            "Do not repeat blindly with Expected.ANY: the check has just prevented a lost update.",
        ),
    ),
    "AB0012": Page(
        "An event with this id is already in the log, and it is a different one: other bytes, type or aggregate.",
        "Nothing was stored by this call. The first event stands at seq.",
        (
            "Give the event an id of its own.",
            "A repeat of the same event is no error; then make sure that type, aggregate and bytes are the same.",
        ),
    ),
    "AB0013": Page(
        "The range begins before the oldest event that is still kept. first_seq is the oldest.",
        "Nothing is damaged: older events expired by policy (event_ttl_days, or the cap of a log in memory).",
        (
            "Read from first_seq on.",
            "For the state of an aggregate, rebuild from a snapshot.",
            "To keep more: event_ttl_days 0 keeps for ever.",
        ),
    ),
    "AB0014": Page(
        "The data does not fit the declared schema of its event type. problems lists each fault.",
        "With schema_validation 'strict' nothing was stored. With True the event is stored all the same and marked "
        "(event.schema_valid is False).",
        (
            "Publish every required field.",
            "Or register a schema that fits what you publish, or set schema_validation to True or False.",
        ),
    ),
    "AB0015": Page(
        "The text names no event type of the bus. The bus takes its built-in types and those registered, so that a "
        "typing error does not become a type nobody listens to.",
        "Nothing was stored by this call.",
        (
            "register_event_type('order_filled') once at start, then publish.",
            "The native door, aresbus.open(), takes any type text.",
        ),
    ),
    "AB0016": Page(
        "There is no way from the event's schema version (from_version) to the one asked for (to_version): a step is "
        "missing, was refused when it was registered (a gap, a loop), or failed on the event at seq. problems says "
        "which; where a step failed, __cause__ is what it raised.",
        "The stored event is as it was: steps work on a decoded copy.",
        (
            "Register the missing step, mend the failing one, or ask for a version that can be reached.",
            "event.raw gives the stored bytes, whatever their version: aresbus read DIR --after SEQ-1 --limit 1 --raw",
            "A reader may also pass such events over or set them aside: policy='skip' or 'park'.",
        ),
    ),
    "AB0017": Page(
        "A handler failed on every try. handler names it, __cause__ is its last exception.",
        "The event is safe in the log and other handlers got it. This delivery is parked with its reason; the "
        "subscription went on to the next event. In a replay there is one try: the replay stopped behind the event.",
        (
            "Look at the cause in the log output of aresbus.*, mend the handler.",
            "Read the event again: aresbus read DIR --after SEQ-1 --limit 1",
        ),
    ),
    "AB0018": Page(
        "The call does not fit the state of the bus: a second run(), or a run() on another event loop.",
        "Nothing was changed; the bus that runs goes on.",
        (
            "One bus, one run(), one event loop. Publishing is allowed from any thread.",
            "To start anew: await bus.stop(), then initialize() and run().",
        ),
    ),
    "AB0019": Page(
        "The event type has a different schema in this version already: registered in this process, or recorded in the "
        "log (path names the file). One version of one type means one thing for ever, since events stored under it "
        "are read by it.",
        "Nothing was registered and nothing was changed. Every stored event is as it was.",
        (
            "Give the changed schema a version of its own: register(..., version='1.1.0').",
            "See the recorded one: aresbus schema show DIR TYPE --version VERSION",
            (
                "Still designing, and no event of that version is worth keeping? Use a new folder, or remove the one "
                "file that path names while no writer has the log open."
            ),
        ),
    ),
    "AB0020": Page(
        "The new schema breaks its compatibility rule: a reader that knows one version could not rely on data of "
        "another. problems names each breaking field, against the versions it breaks with.",
        "Nothing was registered and nothing was changed.",
        (
            "Mend the schema: a new field is optional, a type only widens, a name stays.",
            "Or register an upcaster to the new version first: then old events are brought forward as they are read.",
            "Or say which promise you mean: compatibility='BACKWARD', 'FORWARD', 'FULL' or 'NONE'.",
        ),
    ),
    "AB0022": Page(
        "A projection cannot go on. Either one of its handlers raised on the event at seq; __cause__ is its exception. "
        "Or its store holds the state of another projection or of another log.",
        "Nothing is half done: state and position are as they were before the transaction. A state in memory is "
        "empty instead and is built anew at the next update. The log was only read.",
        (
            "Mend the handler and call update() again: it begins at the same event.",
            "Handlers changed? Raise the projection's version: its state is rebuilt.",
            "Another log or projection on purpose? Give it a store of its own, or reset() this one.",
        ),
    ),
    "AB0023": Page(
        "A replay came to code that acts on the world (an order, a message, a payment), guarded by gate(...), and the "
        "replay does not allow that sink. sink names it, seq the event that was being handled.",
        "Nothing left the process. The log that is replayed is never written.",
        (
            "Most replays are to have no effects: guard the call with @sink(name), which passes it over and counts it.",
            "Or do nothing while event.is_replay is True.",
            "To act on purpose: Replay(..., allow=[name]). That is an administrative act and goes into the audit log.",
        ),
    ),
    "AB0024": Page(
        "An entry in an audit trail is no record of an act: it lacks phase, actor or outcome. A trail is a log like any "
        "other, and something else than aresbus has appended to it. path names the trail, seq the entry.",
        "The events are untouched, and so are all other entries of the trail: each has its checksum. Nothing is shown of a "
        "trail that cannot be trusted whole.",
        (
            "Look at the entry and its neighbours: aresbus read PATH --after SEQ-1 --limit 3",
            "Find out who wrote it: audit folders are for aresbus alone.",
            "The other trails are shown all the same: aresbus audit DIR",
        ),
    ),
    "AB0026": Page(
        "The folder named as an older event store holds no folder events/, so there is nothing to import.",
        "Nothing was changed, neither there nor in the log.",
        (
            "Name the folder that holds events/events_YYYY-MM-DD.jsonl: the storage_path of the older bus.",
            "A log of aresbus itself is no older store: open it, or export it with aresbus export.",
        ),
    ),
    "AB0027": Page(
        "An export makes a folder of its own. The one it was told to make is there and not empty, is a file, or lies "
        "inside the log that is exported.",
        "Nothing was written and nothing overwritten.",
        (
            "Name a folder that is not there yet: aresbus export LOG --out NEW --jsonl",
            (
                "A folder whose name ends in .unfinished is what a killed export left: it is not whole; delete it once "
                "no export runs."
            ),
        ),
    ),
    "AB0029": Page(
        "A backup cannot be made or used as it was asked: the folder is no backup or one of another log, lies inside the log, "
        "is being written by another backup; the backup has no manifest, so it never became whole; the log to be "
        "restored would overwrite something; or the backup ends before the position asked for.",
        "No log was changed, and an earlier backup in that folder is as it was.",
        (
            "Back up into a folder that is new, or that holds an earlier backup of the same log.",
            "Restore into a folder that is not there yet or is empty.",
            "No manifest? That backup was interrupted: take it again into the same folder; it goes on with what is there.",
        ),
    ),
}
