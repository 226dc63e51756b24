"""The fifteen configuration keys of the bus: names, defaults, what each takes, and where values come from.

Owns parsing and checking, and the table of keys without effect yet. Knows no bus. Invariants: a wrong
configuration is one ConfigError that lists every fault; constructors read neither environment nor files, only
:func:`get_event_bus_config` does.
"""

import math
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from aresbus.errors import ConfigError

__all__ = ["NOT_YET", "BusConfig", "get_event_bus_config", "origins", "parse_config"]

SECTION = "event_bus"
ENVIRONMENT_PREFIX = "ARESBUS_"
CONFIG_FILE = "aresbus.toml"
CONFIG_FILE_VARIABLE = "ARESBUS_CONFIG"
"""Environment variable that names another file than aresbus.toml in the working directory."""

NOT_YET: Mapping[str, str] = MappingProxyType({})
"""Keys whose value has no effect yet, with what happens instead. ``initialize()`` warns of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusConfig:
    """A checked configuration; the defaults are those of the contract."""

    processing_interval: float = 1
    max_history: int = 1000
    enable_persistence: bool = True
    enable_snapshots: bool = True
    snapshot_frequency: int = 100
    storage_path: str = "event_store"
    max_retry_count: int = 3
    batch_size: int = 100
    event_ttl_days: float | None = 30
    compression_enabled: bool = True
    schema_validation: bool | Literal["strict"] = True
    audit_trail: bool = True
    correlation_tracking: bool = True
    metrics_enabled: bool = True
    health_check_interval: float = 60

    def to_dict(self) -> dict[str, Any]:
        """The keys and values, ready for JSON and for another bus."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a key takes: in words, as a check of a value, and as a reading of text."""

    takes: str
    accepts: Callable[[Any], bool]
    read: Callable[[str], Any]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _read_number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


def _read_flag(text: str) -> bool:
    word = text.strip().lower()
    if word not in _FLAG_WORDS:
        raise ValueError(text)
    return _FLAG_WORDS[word]


def _read_ttl(text: str) -> float | None:
    return None if text.strip().lower() == "none" else _read_number(text)


def _read_validation(text: str) -> bool | str:
    return "strict" if text.strip().lower() == "strict" else _read_flag(text)


_FLAG_WORDS = {"true": True, "1": True, "yes": True, "on": True}
_FLAG_WORDS |= {"false": False, "0": False, "no": False, "off": False}
_SECONDS = _Kind("a number of seconds above 0", lambda value: _is_number(value) and value > 0, _read_number)
_COUNT = _Kind("a whole number from 1", lambda value: _is_int(value) and value >= 1, int)
_COUNT_OR_NONE = _Kind("a whole number from 0", lambda value: _is_int(value) and value >= 0, int)
_FLAG = _Kind("true or false", lambda value: isinstance(value, bool), _read_flag)
_PATH = _Kind("the path of a directory", lambda value: _path_of(value) is not None, str)
_DAYS = _Kind(
    "a number of days, 0 or None for ever",
    lambda value: value is None or (_is_number(value) and value >= 0),
    _read_ttl,
)
_VALIDATION = _Kind(
    'true, false or "strict"', lambda value: isinstance(value, bool) or value == "strict", _read_validation
)

_KINDS: dict[str, _Kind] = {
    "processing_interval": _SECONDS,
    "max_history": _COUNT,
    "enable_persistence": _FLAG,
    "enable_snapshots": _FLAG,
    "snapshot_frequency": _COUNT,
    "storage_path": _PATH,
    "max_retry_count": _COUNT_OR_NONE,
    "batch_size": _COUNT,
    "event_ttl_days": _DAYS,
    "compression_enabled": _FLAG,
    "schema_validation": _VALIDATION,
    "audit_trail": _FLAG,
    "correlation_tracking": _FLAG,
    "metrics_enabled": _FLAG,
    "health_check_interval": _SECONDS,
}


def _path_of(value: Any) -> str | None:
    if not isinstance(value, str | os.PathLike):
        return None
    path = os.fspath(value)
    return path if isinstance(path, str) and path and "\0" not in path else None


def parse_config(config: Mapping[str, Any] | None) -> BusConfig:
    """The configuration in the "event_bus" section of ``config``; other sections are ignored.

    Raises ConfigError that lists every unknown key, wrong type and impossible value.
    """
    section: Any = {} if config is None else config
    if isinstance(section, Mapping):
        section = section.get(SECTION, {})
    if not isinstance(section, Mapping):
        raise _config_error([f"the configuration is a dict with a dict {SECTION!r}, got {section!r}"])
    problems = [
        _unknown(key) if key not in _KINDS else f"{key}: got {value!r}, takes {_KINDS[key].takes}"
        for key, value in section.items()
        if key not in _KINDS or not _KINDS[key].accepts(value)
    ]
    if problems:
        raise _config_error(problems)
    given = dict(section)
    if "storage_path" in given:
        given["storage_path"] = os.fspath(given["storage_path"])
    return BusConfig(**given)


def get_event_bus_config() -> dict[str, Any]:
    """``{"event_bus": {...}}``: the defaults, overlaid with aresbus.toml, overlaid with the environment.

    The file is ./aresbus.toml, or the one that ARESBUS_CONFIG names (which then has to exist); only its
    table "event_bus" is read. A key's variable is ARESBUS_ and the key in upper case. Raises ConfigError that
    lists every fault.
    """
    problems: list[str] = []
    section = _from_file(problems) | _from_environment(problems)
    try:
        checked = parse_config({SECTION: section})
    except ConfigError as error:
        problems += error.problems
    else:
        if not problems:
            return {SECTION: checked.to_dict()}
    raise _config_error(problems)


def origins() -> dict[str, str]:
    """Where :func:`get_event_bus_config` takes each key from now: "default", the file, or the variable. Never raises."""
    named = os.environ.get(CONFIG_FILE_VARIABLE) or CONFIG_FILE
    return {
        **dict.fromkeys(_KINDS, "default"),
        **{key: named for key in _from_file([]) if key in _KINDS},
        **{key: f"{ENVIRONMENT_PREFIX}{key.upper()}" for key in _from_environment([])},
    }


def _from_file(problems: list[str]) -> dict[str, Any]:
    named = os.environ.get(CONFIG_FILE_VARIABLE)
    path = Path(named or CONFIG_FILE)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named:
            problems.append(f"{CONFIG_FILE_VARIABLE} names {path}, which does not exist")
        return {}
    except (OSError, ValueError) as error:
        problems.append(f"{path}: {error}")
        return {}
    section = document.get(SECTION, {})
    if not isinstance(section, dict):
        problems.append(f"{path}: {SECTION} is a table, got {section!r}")
        return {}
    return section


def _from_environment(problems: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable, text in os.environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == CONFIG_FILE_VARIABLE:
            continue
        key = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if key not in _KINDS:
            problems.append(f"environment variable {variable}: {_unknown(key)}")
            continue
        try:
            found[key] = _KINDS[key].read(text)
        except ValueError:
            problems.append(f"environment variable {variable}: got {text!r}, takes {_KINDS[key].takes}")
    return found


def _unknown(key: Any) -> str:
    return f"{key}: unknown key; the keys are {', '.join(one.name for one in fields(BusConfig))}"


def _config_error(problems: list[str]) -> ConfigError:
    return ConfigError(f"the configuration of the bus is wrong: {'; '.join(problems)}", problems=problems)
