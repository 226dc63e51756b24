"""What a loss of power leaves at the least, made out from a record of changes to files and names (tests/python/faults.py).

Owns the rule: a file's content is certain once it was synced after its last write, a name once its folder was. Knows no backup and no
log; what was there before the record began is certain, and what a mapping wrote is taken for synced.
"""

from pathlib import Path

__all__ = ["Disk", "Node"]


class Node:
    """A folder, or a file that has no names in it."""

    def __init__(self) -> None:
        self.is_written = False
        """Since its last sync."""
        self.seen: dict[str, Node] = {}
        self.certain: dict[str, Node] = {}


class Disk:
    """Everything below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = Node()
        for path in sorted(root.rglob("*")):
            folder = self.node(path.parent)
            assert folder is not None
            folder.seen[path.name] = folder.certain[path.name] = Node()

    def node(self, path: Path) -> Node | None:
        """What everybody sees under the path; None: nothing, or it lies elsewhere."""
        if not path.is_relative_to(self._root):
            return None
        node: Node | None = self._top
        for name in path.relative_to(self._root).parts:
            node = None if node is None else node.seen.get(name)
        return node

    def is_certain(self, path: Path, inside: Path | None = None) -> bool:
        """Whether it, and the way to it (from ``inside`` on), would survive a loss of power now."""
        folder = self._root if inside is None else inside
        node = self.node(folder)
        for name in path.relative_to(folder).parts:
            below = None if node is None else node.seen.get(name)
            if below is None or node is None or node.certain.get(name) is not below:
                return False
            node = below
        return node is not None and not node.is_written

    def change(self, call: str, first: str, second: str) -> None:
        """Take one change of the record; one that cannot have succeeded changes nothing."""
        path, to = Path(first), Path(second)
        # What is linked from elsewhere is certain.
        node = self.node(path) if path.is_relative_to(self._root) else Node()
        folder = self.node(path.parent)
        if call == "fsync" and node is not None:
            node.is_written, node.certain = False, dict(node.seen)
        elif call in {"write", "truncate"} and node is not None:
            node.is_written = True
        elif call in {"create", "truncate", "mkdir"} and node is None and folder is not None:
            made = folder.seen[path.name] = Node()
            made.is_written = call != "mkdir"
        elif call == "unlink" and node is not None and folder is not None:
            del folder.seen[path.name]
        elif call in {"link", "rename"} and node is not None:
            target = self.node(to.parent)
            if target is None or (call == "link" and to.name in target.seen):
                return
            target.seen[to.name] = node
            if call == "rename" and folder is not None:
                del folder.seen[path.name]
