"""What type checkers know and Python 3.11 does not have yet: ``override``.

Owns that one name; imports nothing at run time, so every other file may import it. It goes when
Python 3.12 is the oldest supported version.
"""

from typing import TYPE_CHECKING, TypeVar

__all__ = ["override"]

if TYPE_CHECKING:
    from typing_extensions import override
else:
    Method = TypeVar("Method")

    def override(method: Method) -> Method:
        """Mark a method that replaces one of a base class; does nothing at run time."""
        return method
