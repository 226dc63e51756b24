"""What vouches for a log to whoever has no log: heads of its tree of events, and proofs of single events.

Owns their forms as values, JSON and text. How the tree is made is the engine's, its rules docs/format.md's. Invariant: what
is read from text is checked for its form before anything believes it.
"""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from aresbus import _core
from aresbus._typing import override

__all__ = ["InclusionProof", "TreeHead", "heads_in"]

HASH = re.compile(r"[0-9a-f]{64}")
MAX_SIZE = 2**63


@dataclass(frozen=True, slots=True)
class TreeHead:
    """The state of a log in a few bytes: kept where nobody who can write the log can write, it shows any later change.

    ``tree_size`` is the number of events it speaks of, ``root`` the root of the tree over them in hexadecimal digits,
    ``seq`` the newest of them and ``epoch`` its epoch. ``str()`` is one line of JSON, :meth:`from_text` its inverse.
    """

    log_id: str
    epoch: int
    seq: int | None
    tree_size: int
    root: str

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "log_id": self.log_id,
            "epoch": self.epoch,
            "seq": self.seq,
            "tree_size": self.tree_size,
            "root": self.root,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`; other keys are passed over. Raises ValueError that names what is wrong."""
        if not isinstance(value, Mapping):
            raise ValueError(f"a tree head is an object, not {value!r}")  # noqa: TRY004 - what is read is a value
        missing = [name for name in ("log_id", "epoch", "seq", "tree_size", "root") if name not in value]
        if missing:
            raise ValueError(f"a tree head has no {', '.join(missing)}")
        size, seq, epoch, root = (value[name] for name in ("tree_size", "seq", "epoch", "root"))
        if not _is_count(size) or seq != (size - 1 if size else None) or not _is_count(epoch):
            raise ValueError("tree_size, seq and epoch of a tree head do not fit each other")
        if not isinstance(root, str) or not HASH.fullmatch(root):
            raise ValueError(f"root of a tree head: got {root!r}, takes 64 hexadecimal digits")
        try:
            log_id = str(uuid.UUID(value["log_id"]))
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"log_id of a tree head: got {value['log_id']!r}, takes a UUID") from None
        return cls(log_id, epoch, seq, size, root)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """A head from its line of JSON. Raises ValueError that names what is wrong."""
        return cls.from_dict(json.loads(text))

    @override
    def __str__(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_dict())


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That one event is among those a head speaks of. Checked with nothing but a BLAKE3 library: docs/evidence.md has how.

    ``record`` is the event as it is stored, ``texts`` are its event type, source, schema version and tag keys, as far as it
    has them; ``path`` are the hashes that lead from it to ``head.root``.
    """

    seq: int
    record: bytes
    texts: tuple[str, ...]
    path: tuple[str, ...]
    head: TreeHead

    @property
    def holds(self) -> bool:
        """Whether it proves what it says. Compare :attr:`head` with one that you kept: a proof may bring its own."""
        return _core._proof_holds(self.record, list(self.texts), self.seq, list(self.path), self.head)  # noqa: SLF001

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; the record in hexadecimal digits."""
        return {
            "seq": self.seq,
            "record": self.record.hex(),
            "texts": list(self.texts),
            "path": list(self.path),
            "head": self.head.to_dict(),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`. Raises ValueError that names what is wrong."""
        try:
            seq, record = value["seq"], bytes.fromhex(value["record"])
            texts, path = tuple(value["texts"]), tuple(value["path"])
            head = TreeHead.from_dict(value["head"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"a proof has seq, record, texts, path and head: {error}") from None
        if not _is_count(seq) or not all(isinstance(text, str) for text in (*texts, *path)):
            raise ValueError("seq, texts and path of a proof are a number and texts")
        return cls(seq, record, texts, path, head)


def heads_in(text: str) -> list[TreeHead]:
    """The heads of a text: one JSON object, or one a line, as ``anchor_to`` writes them. ValueError names the line.

    A last line without its end is passed over where it is no head: its writer died in it.
    """
    try:
        return [TreeHead.from_text(text)]
    except ValueError:
        lines = text.splitlines(keepends=True)
    heads = []
    for number, line in enumerate(lines, 1):
        try:
            heads += [TreeHead.from_text(line)] if line.strip() else []
        except ValueError as error:
            if number < len(lines) or line.endswith("\n") or not heads:
                raise ValueError(f"line {number} is no tree head: {error}") from None
    if not heads:
        raise ValueError("there is no tree head in it")
    return heads


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_SIZE
