"""Can a reader of one schema rely on data of another: each way to break, named; and the promise itself, on random schemas."""

import jsonschema_rs
import pytest
from aresbus.schema import Schema, breaks
from hypothesis import given, settings, strategies as st


def fields(required=(), **rules):
    return Schema({"type": "object", "properties": rules, "required": list(required)})


STRING, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
MAYBE = {"anyOf": [INTEGER, {"type": "null"}]}


@pytest.mark.parametrize(
    ("writer", "reader", "expected"),
    [
        (fields(a=STRING), fields(a=STRING), []),
        (fields(a=INTEGER), fields(a=NUMBER), []),
        (fields(a=NUMBER), fields(a=INTEGER), ["a: was number, takes integer now"]),
        (fields(a={}), fields(a=STRING), ["a: was anything, takes string now"]),
        (fields(a=INTEGER), fields(a=MAYBE), []),
        (fields(a=MAYBE), fields(a=INTEGER), ["a: was integer or null, takes integer now"]),
        (fields(["a"], a=STRING), fields(a=STRING), []),
        (fields(a=STRING), fields(["a"], a=STRING), ["a: is required now, and was optional"]),
        (fields(), fields(["a"], a=STRING), ["a: is required now, and was not there"]),
        (fields(), fields(a=STRING), []),
        (fields(["a"], a=STRING), fields(), []),
        (fields(a={"enum": ["x"]}), fields(a={"enum": ["x", "y"]}), []),
        (
            fields(a={"enum": ["x", "y"]}),
            fields(a={"enum": ["x"]}),
            ["a: 'y' was allowed, and is no longer"],
        ),
        (fields(a=STRING), fields(a={"enum": ["x"]}), ["a: was any string, takes 'x' now"]),
        (fields(a={"const": "x"}), fields(a=STRING), []),
        (fields(a={**NUMBER, "minimum": 1}), fields(a={**NUMBER, "minimum": 0}), []),
        (
            fields(a={**NUMBER, "minimum": 0}),
            fields(a={**NUMBER, "minimum": 1}),
            ["a: minimum is 1 now, and was 0"],
        ),
        (
            fields(a=STRING),
            fields(a={**STRING, "maxLength": 3}),
            ["a: maxLength is 3 now, and was not set"],
        ),
        (
            fields(a=STRING),
            fields(a={**STRING, "pattern": "^x"}),
            ["a: pattern is new or has changed, which cannot be compared"],
        ),
        (
            fields(orders={"type": "array", "items": fields(qty=NUMBER).document}),
            fields(orders={"type": "array", "items": fields(["qty"], qty=STRING).document}),
            [
                "orders[].qty: is required now, and was optional",
                "orders[].qty: was number, takes string now",
            ],
        ),
        (
            fields(a=STRING),
            Schema({"type": "object", "additionalProperties": False}),
            ["a: was there, and is not allowed now"],
        ),
        (
            fields(a=STRING),
            Schema({"type": "object", "additionalProperties": INTEGER}),
            ["a: was string, takes integer now"],
        ),
        (fields(a={**STRING, "title": "A"}), fields(a={**STRING, "format": "date"}), []),
        (Schema({}), fields(), ["the data: was anything, takes object now"]),
        (fields(a=STRING), Schema({}), []),
        (
            fields(a={"anyOf": [fields(["x"], x=STRING).document, INTEGER]}),
            fields(a={"anyOf": [INTEGER, fields(["y"], y=STRING).document]}),
            ["a: object was allowed and fits none of the 2 forms now"],
        ),
    ],
)
def test_what_breaks_is_named_by_its_path(writer, reader, expected):
    assert breaks(writer, reader) == expected


def test_two_changes_are_both_named():
    found = breaks(fields(["a"], a=STRING, b=STRING), fields(["c"], a=INTEGER, b=INTEGER))
    assert sorted(problem.split(":")[0] for problem in found) == ["a", "b", "c"]


def test_references_titles_and_order_do_not_make_a_difference():
    node = {"type": "object", "properties": {"q": {"type": "number", "description": "how much"}}}
    one = Schema({"$ref": "#/$defs/N", "$defs": {"N": node}, "title": "one"})
    two = Schema({"properties": {"q": {"type": ["number"]}}, "type": "object", "required": []})
    assert one == two
    assert hash(one) == hash(two)
    assert one != Schema({"type": "object", "properties": {"q": {"type": "string"}}})
    assert breaks(one, two) == breaks(two, one) == []


def test_a_field_called_like_a_note_is_a_field():
    assert fields(title=STRING, description=STRING).rules["optional_fields"] == ["title", "description"]
    assert breaks(fields(title=STRING), fields(title=INTEGER))


def test_a_schema_that_contains_itself_has_an_end():
    tree = {
        "$ref": "#/$defs/T",
        "$defs": {
            "T": {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/T"}}}}
        },
    }
    assert breaks(Schema(tree), Schema(tree)) == []
    assert Schema(tree).problems({"kids": [{"kids": []}]}) == []
    assert Schema(tree).problems({"kids": [{"kids": 1}]}) != []


def test_definitions_that_double_with_each_step_are_refused():
    levels = {
        f"L{at}": {"type": "object", "properties": {key: {"$ref": f"#/$defs/L{at + 1}"} for key in "ab"}}
        for at in range(60)
    }
    with pytest.raises(ValueError, match="at most"):
        Schema({"$ref": "#/$defs/L0", "$defs": {**levels, "L60": STRING}})


SCALARS = st.sampled_from(["string", "integer", "number", "boolean", "null"])
TEXTS = st.sampled_from(["x", "y", "z"])


def schemas(depth=2):
    leaf = st.one_of(
        st.builds(lambda kinds: {"type": sorted(kinds)}, st.sets(SCALARS, min_size=1, max_size=2)),
        st.builds(lambda texts: {"enum": sorted(texts)}, st.sets(TEXTS, min_size=1)),
        st.builds(lambda low: {"type": "integer", "minimum": low}, st.integers(0, 2)),
        st.builds(lambda most: {"type": "string", "maxLength": most}, st.integers(0, 2)),
        st.just({}),
    )
    if depth == 0:
        return leaf
    below = schemas(depth - 1)
    return st.one_of(
        leaf,
        objects(below),
        st.builds(lambda items: {"type": "array", "items": items}, below),
        st.builds(lambda one, two: {"anyOf": [one, two]}, below, below),
    )


def objects(below):
    @st.composite
    def one(draw):
        properties = draw(st.dictionaries(st.sampled_from("abc"), below, max_size=3))
        required = draw(st.sets(st.sampled_from("abc"), max_size=2))
        # Closed, as data of a writer is: a field that its schema does not name is not there.
        return {"type": "object", "properties": properties, "required": sorted(required & set(properties))}

    return one()


def values(document):
    """Data that fits the document and has no field that it does not name."""
    if "anyOf" in document:
        return st.one_of(*map(values, document["anyOf"]))
    if "enum" in document:
        return st.sampled_from(document["enum"])
    kinds = document.get("type", ["string", "integer", "null"])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    made = {
        "string": st.text("xy", max_size=document.get("maxLength", 3)),
        "integer": st.integers(document.get("minimum", -3), 3),
        "number": st.floats(-2, 2),
        "boolean": st.booleans(),
        "null": st.none(),
    }
    if "array" in kinds:
        return st.lists(values(document.get("items", {})), max_size=2)
    if "object" in kinds:
        fields = document.get("properties", {})
        needed = {name: values(one) for name, one in fields.items() if name in document.get("required", ())}
        rest = {name: values(one) for name, one in fields.items() if name not in needed}
        return st.fixed_dictionaries(needed, optional=rest)
    return st.one_of(*(made[kind] for kind in kinds))


@settings(max_examples=300, deadline=None)
@given(data=st.data(), writer=objects(schemas(1)), reader=objects(schemas(1)))
def test_where_nothing_breaks_the_reader_accepts_whatever_was_written(data, writer, reader):
    if breaks(Schema(writer), Schema(reader)):
        return
    value = data.draw(values(writer))
    assert jsonschema_rs.Draft202012Validator(writer).is_valid(value)
    assert jsonschema_rs.Draft202012Validator(reader).is_valid(value)


@settings(max_examples=200, deadline=None)
@given(document=schemas())
def test_a_schema_reads_its_own_data_and_equals_its_copy(document):
    assert breaks(Schema(document), Schema(document)) == []
    assert Schema(document) == Schema(Schema(document).document)
    assert Schema(document) == Schema(Schema(document).normal)
