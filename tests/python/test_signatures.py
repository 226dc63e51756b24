"""What `inspect.signature` says of the compiled module is what its stub says, and every public callable has one.

mypy.stubtest (`make types`) compares names, kinds and defaults too, but forgives a compiled callable that has no
signature at all; help(), editors and notebooks do not.
"""

import ast
import inspect
from pathlib import Path
from typing import Any

import aresbus
import pytest
from aresbus import _core

STUB = ast.parse(Path(_core.__file__).with_name("_core.pyi").read_text(encoding="utf-8"))


def stub_callables() -> dict[str, ast.FunctionDef]:
    """Every function and method of the stub by its dotted name; properties are no callables."""
    found = {}
    for node in STUB.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{item.name}": item
                for item in node.body
                if isinstance(item, ast.FunctionDef) and not is_property(item)
            }
    return found


def is_property(node: ast.FunctionDef) -> bool:
    """Whether it reads or sets one."""
    return any(
        (isinstance(mark, ast.Name) and mark.id == "property")
        or (isinstance(mark, ast.Attribute) and mark.attr == "setter")
        for mark in node.decorator_list
    )


def shape_of_stub(node: ast.FunctionDef) -> list[tuple[str, Any, Any]]:
    """Name, kind and default of each parameter; the first of a method is left out."""
    spec, kinds = node.args, inspect._ParameterKind
    positional = spec.posonlyargs + spec.args
    defaults = [None] * (len(positional) - len(spec.defaults)) + list(spec.defaults)
    shape = [
        (
            arg.arg,
            kinds.POSITIONAL_ONLY if at < len(spec.posonlyargs) else kinds.POSITIONAL_OR_KEYWORD,
            value(default),
        )
        for at, (arg, default) in enumerate(zip(positional, defaults, strict=True))
    ]
    shape += [(spec.vararg.arg, kinds.VAR_POSITIONAL, value(None))] if spec.vararg else []
    shape += [
        (arg.arg, kinds.KEYWORD_ONLY, value(default))
        for arg, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True)
    ]
    shape += [(spec.kwarg.arg, kinds.VAR_KEYWORD, value(None))] if spec.kwarg else []
    return shape


def value(default: ast.expr | None) -> Any:
    return inspect.Parameter.empty if default is None else ast.literal_eval(default)


def shape_of(target: Any) -> list[tuple[str, Any, Any]]:
    """The same of the real thing."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(target).parameters.values()]


CALLABLES = {
    name: node
    for name, node in stub_callables().items()
    if name.split(".")[-1] == "__new__" or not name.split(".")[-1].startswith("__")
}


@pytest.mark.parametrize("name", CALLABLES)
def test_signature_equals_the_stub(name):
    owner, _, method = name.rpartition(".")
    expected = shape_of_stub(CALLABLES[name])
    if not owner:
        assert shape_of(getattr(_core, name)) == expected
        return
    holder = getattr(_core, owner)
    target = holder if method == "__new__" else getattr(holder, method)
    is_bound = target is holder or getattr(target, "__self__", None) is holder
    assert shape_of(target)[0 if is_bound else 1 :] == expected[1:]


def public_callables() -> dict[str, Any]:
    """Everything callable that `aresbus` exports, and the public methods of its classes."""
    found = {}
    for name in aresbus.__all__:
        target = getattr(aresbus, name)
        if callable(target):
            found[name] = target
        if inspect.isclass(target):
            found |= {
                f"{name}.{method}": getattr(target, method)
                for method in dir(target)
                if not method.startswith("_")
                and callable(getattr(target, method))
                and not hasattr(object, method)
                and not is_inherited_from_builtins(target, method)
            }
    return found


def is_inherited_from_builtins(target: type, method: str) -> bool:
    """Whether the method is that of str, OSError and the like."""
    owner = next((base for base in target.__mro__ if method in vars(base)), object)
    return not owner.__module__.startswith("aresbus")


PUBLIC = public_callables()


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_callable_has_a_signature_and_a_docstring(name):
    inspect.signature(PUBLIC[name])
    assert inspect.getdoc(PUBLIC[name])


def test_the_public_names_are_those_of_the_contract():
    doors = {"open", "Log", "EnhancedEventBus", "setup_enhanced_event_bus", "get_event_bus_config"}
    meaning = {"Event", "EventMetadata", "EventSnapshot", "EventStatus", "EventType", "EventVersionManager"}
    stores = {"IEventStore", "FileEventStore", "MemoryEventStore"}
    native = {"Expected", "Receipt", "register_event_type"}
    assert doors | meaning | stores | native <= set(aresbus.__all__)
    assert all(hasattr(aresbus, name) for name in aresbus.__all__)
