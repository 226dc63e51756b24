"""Objects of the user's code that a verb is told by name: ``module:object``, on the path or in a file.

Owns how they are found. Knows nothing of what they are for. Invariant: whatever the code does when it is loaded, the verb
gets the object or a ConfigError.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from aresbus.errors import ConfigError
from aresbus.troubles import described

__all__ = ["find_object", "no_such"]


def find_object(module: str, name: str, what: str) -> Any:
    """The object ``name`` in a module on the path, the current folder included, or in a file.

    Raises ConfigError, which calls it ``what``, where there is none, or the module cannot be loaded.
    """
    try:
        return getattr(_load(Path(module)) if module.endswith(".py") else _import(module), name)
    except Exception as error:
        raise no_such(what, f"{module}:{name}: {described(error)}") from error


def no_such(what: str, problem: str) -> ConfigError:
    """The error of an object that is not there, or is none of these."""
    return ConfigError(f"there is no such {what}: {problem}", problems=[problem])


def _import(module: str) -> ModuleType:
    # As `python -m` does; the installed script begins in its own folder.
    sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(module)


def _load(path: Path) -> ModuleType:
    # Under a name of its own: a file called random.py must not become everybody's random.
    spec = importlib.util.spec_from_file_location(f"aresbus_program_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded  # dataclasses look themselves up there
    sys.path.insert(0, str(path.parent.absolute()))  # what lies beside it, it may import, as any script
    spec.loader.exec_module(loaded)
    return loaded
