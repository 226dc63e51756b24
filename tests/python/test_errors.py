"""The tree of errors: codes, fields, texts, what Python already has a name for, and that all of it survives pickling."""

import copy
import errno
import pickle

import aresbus
import pytest
from aresbus.errors import ERRORS_BY_CODE, AresbusError, StorageError

ALL = list(ERRORS_BY_CODE.values())


def filled(kind: type[AresbusError]) -> AresbusError:
    """One error of the class with something in each field."""
    fields = {name: [f"{name}!"] if default == [] else f"{name}!" for name, default in kind.FIELDS.items()}
    return kind("it broke", **fields)


def test_codes_are_unique_and_in_order():
    assert list(ERRORS_BY_CODE) == sorted(ERRORS_BY_CODE)
    assert len({kind.__name__ for kind in ALL}) == len(ALL)


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_public_documented_and_advises(kind):
    assert getattr(aresbus, kind.__name__) is kind
    assert kind.__doc__
    assert kind.advice.endswith(".")


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_survives_copying_and_pickling(kind, again):
    error = filled(kind)
    error.add_note("a note")
    twin = again(error)
    assert type(twin) is kind
    assert str(twin) == str(error)
    assert twin.__notes__ == ["a note"]
    for name in kind.FIELDS:
        assert getattr(twin, name) == getattr(error, name) == getattr(filled(kind), name)


def test_the_text_has_code_message_and_advice():
    error = aresbus.DiskFullError("no room.", path="/log")
    assert str(error) == f"[AB0002] no room. {aresbus.DiskFullError.advice}"
    assert error.message == "no room."


def test_defaults_of_lists_are_not_shared():
    aresbus.ConfigError("a").problems.append("x")
    assert aresbus.ConfigError("b").problems == []


def test_an_unknown_field_is_refused():
    with pytest.raises(TypeError, match="pth"):
        StorageError("x", pth="typo")


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        ("StorageError", (OSError,)),
        ("DiskFullError", (StorageError, OSError)),
        ("EncodeError", (TypeError, ValueError)),
        ("LimitError", (ValueError,)),
        ("ConfigError", (ValueError,)),
        ("BusStateError", (RuntimeError,)),
        ("UnknownEventTypeError", (aresbus.SchemaError,)),
        ("UpcastError", (aresbus.SchemaError,)),
    ],
)
def test_errors_are_what_python_has_a_name_for(kind, bases):
    for base in (*bases, AresbusError):
        assert issubclass(getattr(aresbus, kind), base)


def test_storage_errors_have_a_real_errno():
    assert aresbus.DiskFullError("x").errno == errno.ENOSPC
    assert StorageError("x", errno=errno.EROFS).errno == errno.EROFS
    assert StorageError("x").errno is None
    for kind in ALL:
        if kind.__name__ not in {"StorageError", "FormatVersionError"} and issubclass(kind, OSError):
            assert kind("x").errno in errno.errorcode
