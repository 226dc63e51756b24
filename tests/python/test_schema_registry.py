"""What may be registered: versions, current ones, steps without gaps and loops, and schemas that break their rule."""

import pickle

import pytest
from aresbus import (
    EventVersionManager,
    IncompatibleSchemaError,
    Schema,
    SchemaConflictError,
    SchemaError,
    UpcastError,
    register_event_type,
)
from aresbus.events import event_type_of

RULES_1 = {"required_fields": ["symbol", "price"], "optional_fields": ["note"]}
RULES_2 = {"required_fields": ["symbol", "price", "venue"], "optional_fields": ["note"]}


@pytest.fixture
def manager():
    made = EventVersionManager()
    made.register("fill", RULES_1, version="1.0.0")
    return made


def typed(**fields):
    """A JSON Schema of required fields with these types."""
    properties = {name: {"type": kind} for name, kind in fields.items()}
    return {"type": "object", "properties": properties, "required": list(fields)}


# Schemas and current versions


def test_a_registered_schema_shows_in_the_mappings_and_makes_the_text_an_event_type(manager):
    assert manager.version_mappings["1.0.0"]["fill"] == RULES_1
    assert event_type_of("fill") is register_event_type("fill")
    assert manager.problems("fill", {"symbol": "X"}) == ["price is missing"]
    assert manager.problems("fill", {"symbol": "X", "price": None}) == []
    assert manager.versions("fill") == ["1.0.0"]


def test_what_a_user_puts_into_the_mappings_counts_like_what_is_registered(manager):
    manager.version_mappings["2.0.0"] = {"fill": RULES_2}
    assert manager.versions("fill") == ["1.0.0", "2.0.0"]
    assert manager.schema("fill", "2.0.0") == Schema.of(RULES_2)
    assert manager.current_version("fill") == "1.0.0"
    manager.set_current("fill", "2.0.0")
    assert manager.problems("fill", {"symbol": 1, "price": 1}) == ["venue is missing"]
    manager.version_mappings["2.0.0"]["fill"]["required_fields"].append("fee")
    assert manager.problems("fill", {"symbol": 1, "price": 1, "venue": 1}) == ["fee is missing"]
    RULES_2["required_fields"].remove("fee")


def test_the_newest_version_becomes_the_current_one_but_not_for_built_in_types(manager):
    manager.register("fill", RULES_1, version="1.10.0")
    manager.register("fill", RULES_1, version="1.9.0")
    assert manager.current_version("fill") == "1.10.0"
    manager.register("fill", RULES_1, version="2.0.0", current=False)
    assert manager.current_version("fill") == "1.10.0"
    manager.set_current("fill", "1.0.0")
    assert manager.current_version("fill") == "1.0.0"
    rules = {"required_fields": ["level"]}
    manager.register("risk_alert", rules, version="1.4.0")
    assert manager.current_version("risk_alert") == "1.0.0"
    manager.register("risk_alert", rules, version="1.4.0", current=True)
    assert manager.current_version("risk_alert") == "1.4.0"


def test_a_version_nobody_registered_cannot_become_current(manager):
    with pytest.raises(SchemaError, match=r"declared are 1\.0\.0") as caught:
        manager.set_current("fill", "3.0.0")
    assert caught.value.event_type == "fill"


@pytest.mark.parametrize("version", ["", "one", "v1.0.0", "1..0", "1.0.0 ", "-1", "1" * 300, "١.0.0"])
def test_a_text_without_place_in_the_order_is_no_version(manager, version):
    with pytest.raises(ValueError, match="schema version"):
        manager.register("other", {}, version=version)
    assert manager.versions("other") == []


@pytest.mark.parametrize("version", [1, 1.0, None, b"1.0.0"])
def test_a_version_is_text(manager, version):
    with pytest.raises(TypeError, match="schema version"):
        manager.register("other", {}, version=version)


@pytest.mark.parametrize(
    "schema", [None, 7, "fill", ["symbol"], int, {"required_fields": "symbol"}, {"required_fields": [1]}]
)
def test_what_is_no_schema_is_refused_and_leaves_nothing(manager, schema):
    with pytest.raises(TypeError):
        manager.register("other", schema, version="1.0.0")
    assert manager.versions("other") == []


def test_the_same_schema_again_changes_nothing_a_different_one_is_refused(manager):
    manager.register("fill", RULES_1, version="1.0.0")
    with pytest.raises(SchemaConflictError) as caught:
        manager.register("fill", RULES_2, version="1.0.0")
    assert (caught.value.event_type, caught.value.version, caught.value.path) == ("fill", "1.0.0", None)
    assert manager.version_mappings["1.0.0"]["fill"] == RULES_1


@pytest.mark.parametrize("twin", ["1", "1.0", "1.0.0+build7"])
def test_two_texts_of_one_rank_are_one_version(manager, twin):
    with pytest.raises(SchemaConflictError, match=r"written 1\.0\.0"):
        manager.register("fill", RULES_1, version=twin)


def test_a_broken_entry_of_the_mappings_is_named(manager):
    manager.version_mappings["5.0.0"] = {"fill": {"required_fields": None}}
    with pytest.raises(SchemaError, match="required_fields is a list"):
        manager.schema("fill", "5.0.0")


# Compatibility at registration


def test_every_breaking_field_is_named_with_the_versions_it_breaks_with(manager):
    manager.register("fill", RULES_1, version="1.1.0")
    with pytest.raises(IncompatibleSchemaError) as caught:
        manager.register("fill", typed(symbol="string", price="number", venue="string"), version="2.0.0")
    error = caught.value
    assert error.against == ["1.1.0", "1.0.0"]
    assert error.compatibility == "BACKWARD_TRANSITIVE"
    assert sorted(problem.split(":")[0] for problem in error.problems) == ["price", "symbol", "venue"]
    assert all("against 1.1.0, 1.0.0" in problem for problem in error.problems)
    assert manager.versions("fill") == ["1.0.0", "1.1.0"]
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


def test_a_registered_step_satisfies_the_check(manager):
    manager.upcaster("fill", "1.0.0", "2.0.0")(lambda data: {**data, "venue": "X"})
    manager.register("fill", RULES_2, version="2.0.0")
    assert manager.current_version("fill") == "2.0.0"


def test_transitive_looks_past_the_version_before_and_backward_does_not(manager):
    manager = EventVersionManager()
    manager.register("t", typed(a="integer"), version="1.0.0")
    manager.register("t", typed(), version="1.1.0")
    reused = {"type": "object", "properties": {"a": {"type": "string"}}}
    with pytest.raises(IncompatibleSchemaError, match="a: was integer, takes string now") as caught:
        manager.register("t", reused, version="1.2.0")
    assert caught.value.against == ["1.0.0"]
    manager.register("t", reused, version="1.2.0", compatibility="BACKWARD")


def test_forward_asks_whether_old_readers_can_read_new_data(manager):
    manager.register("t", typed(a="integer"), version="1.0.0")
    manager.register("t", typed(a="integer", b="string"), version="1.1.0", compatibility="FORWARD")
    with pytest.raises(IncompatibleSchemaError, match=r"for readers of 1\.1\.0: a") as caught:
        manager.register("t", typed(b="string"), version="1.2.0", compatibility="FORWARD")
    assert len(caught.value.problems) == 1
    manager.downcaster("t", "1.2.0", "1.1.0")(lambda data: {**data, "a": 0})
    manager.register("t", typed(b="string"), version="1.2.0", compatibility="FORWARD")


def test_full_asks_both(manager):
    manager.register("t", typed(a="integer"), version="1.0.0")
    for schema in (typed(a="number"), typed(a="integer", b="string"), typed()):
        with pytest.raises(IncompatibleSchemaError):
            manager.register("t", schema, version="1.1.0", compatibility="FULL")
    optional = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}
    manager.register("t", optional, version="1.1.0", compatibility="FULL")


def test_a_version_between_two_others_is_judged_both_ways(manager):
    manager.register("t", typed(), version="1.0.0")
    manager.register("t", typed(), version="2.0.0")
    manager.register("t", {"properties": {"a": {"type": "string"}}, "type": "object"}, version="3.0.0")
    with pytest.raises(IncompatibleSchemaError, match="a: was integer") as caught:
        manager.register("t", {"properties": {"a": {"type": "integer"}}, "type": "object"}, version="2.5.0")
    assert caught.value.against == ["3.0.0"]


def test_without_a_check_the_break_is_found_when_an_old_event_is_read(manager):
    manager.register("fill", RULES_2, version="2.0.0", compatibility="NONE")
    with pytest.raises(UpcastError, match="venue: is required now") as caught:
        manager.way("fill", "1.0.0")
    assert (caught.value.from_version, caught.value.to_version) == ("1.0.0", "2.0.0")
    manager.upcaster("fill", "1.0.0", "2.0.0")(lambda data: {**data, "venue": "X"})
    assert len(manager.way("fill", "1.0.0").steps) == 1


def test_an_unknown_rule_is_refused(manager):
    with pytest.raises(ValueError, match="BACKWARD_TRANSITIVE, BACKWARD, FORWARD, FULL, NONE"):
        manager.register("fill", RULES_1, version="1.1.0", compatibility="backward")


# Steps


def versions(manager, *texts):
    for text in texts:
        manager.register("fill", RULES_1, version=text)


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("1.0.0", "1.0.0", "loop"),
        ("1.2.0", "1.1.0", "loop"),
        ("1.0.0", "1.2.0", r"gap: it passes over 1\.1\.0"),
        ("0.9.0", "1.0.0", r"gap: 0\.9\.0 is not registered"),
    ],
)
def test_gaps_and_loops_are_refused_at_registration(manager, source, target, says):
    versions(manager, "1.1.0", "1.2.0")
    with pytest.raises(UpcastError, match=says) as caught:
        manager.upcaster("fill", source, target)(dict)
    assert (caught.value.from_version, caught.value.to_version) == (source, target)
    assert manager.way("fill", "1.0.0").steps == ()


def test_there_is_one_step_from_a_version(manager):
    versions(manager, "1.1.0")
    manager.upcaster("fill", "1.0.0", "1.1.0")(dict)
    with pytest.raises(UpcastError, match="already"):
        manager.upcaster("fill", "1.0.0", "1.1.0")(dict)


def test_no_version_may_be_put_inside_a_step(manager):
    manager.upcaster("fill", "1.0.0", "2.0.0")(dict)
    with pytest.raises(UpcastError, match="inside the step"):
        versions(manager, "1.5.0")


def test_a_circle_of_renames_is_a_loop(manager):
    manager.register("trade", RULES_1, version="1.0.0")
    manager.register("trade", RULES_1, version="2.0.0")
    manager.register("deal", RULES_1, version="1.0.0")
    manager.upcaster("fill", "1.0.0", "1.0.0", new_type="trade")(dict)
    manager.upcaster("trade", "2.0.0", "1.0.0", new_type="deal")(dict)
    with pytest.raises(UpcastError, match="loop"):
        manager.upcaster("deal", "1.0.0", "1.0.0", new_type="fill")(dict)
    with pytest.raises(UpcastError, match=r"gap: nobody 1\.0\.0 is not registered"):
        manager.upcaster("deal", "1.0.0", "1.0.0", new_type="nobody")(dict)
    assert manager.way("fill", "1.0.0").event_type == "deal"


def test_a_step_back_leads_back_to_a_registered_version(manager):
    with pytest.raises(UpcastError, match="not registered"):
        manager.downcaster("fill", "2.0.0", "0.5.0")(dict)
    with pytest.raises(UpcastError, match="older"):
        manager.downcaster("fill", "0.5.0", "1.0.0")(dict)


async def an_async_step(data):
    return data


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (an_async_step, "async"),
        (lambda *, data: data, "arguments"),
        (lambda a, b, c: {}, "arguments"),
        (7, "function"),
    ],
)
def test_what_is_no_step_is_refused(manager, function, says):
    with pytest.raises(TypeError, match=says):
        manager.upcaster("fill", "1.0.0", "1.1.0")(function)


def test_a_decorated_step_stays_the_function_it_was(manager):
    def step(data):
        return data

    assert manager.upcaster("fill", "1.0.0", "1.1.0")(step) is step
