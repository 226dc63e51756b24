"""Schema versions: what is required, and how an event of an older version becomes a newer one."""

import pytest
from aresbus import Event, EventMetadata, EventType, EventVersionManager, UpcastError
from aresbus.schema import version_order
from bus_support import TRADE

MARKET = {"symbol": "BTCUSDT", "price": 1.0, "volume": 2.0}


def event(kind, data, version="1.0.0"):
    return Event(kind, data, EventMetadata(schema_version=version))


@pytest.mark.parametrize(
    ("kind", "data", "version", "fits"),
    [
        (EventType.MARKET_DATA_RECEIVED, MARKET, "1.0.0", True),
        (EventType.MARKET_DATA_RECEIVED, MARKET, "1.1.0", False),
        (EventType.MARKET_DATA_RECEIVED, {**MARKET, "timestamp": 1, "bid": 1}, "1.1.0", True),
        (EventType.MARKET_DATA_RECEIVED, {"symbol": "X"}, "1.0.0", False),
        (EventType.TRADE_EXECUTED, TRADE, "1.0.0", True),
        (EventType.TRADE_EXECUTED, TRADE, "1.1.0", False),
        (EventType.TRADE_EXECUTED, {**TRADE, "order_id": None}, "1.1.0", True),
        (EventType.TRADE_EXECUTED, [1, 2], "1.0.0", False),
        (EventType.RISK_ALERT, None, "1.0.0", True),
        (EventType.TRADE_EXECUTED, {}, "9.9.9", True),
    ],
)
def test_required_fields(kind, data, version, fits):
    assert EventVersionManager().validate_event_schema(event(kind, data, version)) is fits


def test_the_mappings_have_the_shape_of_the_contract():
    mappings = EventVersionManager().version_mappings
    assert set(mappings) == {"1.0.0", "1.1.0"}
    assert mappings["1.0.0"]["trade_executed"] == {
        "required_fields": ["symbol", "side", "quantity", "price"],
        "optional_fields": [],
    }
    assert mappings["1.1.0"]["market_data_received"]["optional_fields"] == ["bid", "ask", "spread"]


def test_a_mapping_may_be_added():
    manager = EventVersionManager()
    manager.version_mappings["1.0.0"]["risk_alert"] = {"required_fields": ["level"], "optional_fields": []}
    assert not manager.validate_event_schema(event(EventType.RISK_ALERT, {}))
    assert manager.validate_event_schema(event(EventType.RISK_ALERT, {"level": 1}))
    assert "risk_alert" not in EventVersionManager().version_mappings["1.0.0"]


def test_market_data_gets_its_timestamp_from_the_metadata():
    old = event(EventType.MARKET_DATA_RECEIVED, dict(MARKET))
    new = EventVersionManager().migrate_event(old, "1.1.0")
    assert new is not old
    assert new.data == {**MARKET, "timestamp": old.metadata.timestamp.isoformat()}
    assert new.metadata.schema_version == "1.1.0"
    assert (old.data, old.metadata.schema_version) == (MARKET, "1.0.0")
    assert EventVersionManager().validate_event_schema(new)


def test_trades_get_an_order_id_of_none_unless_they_have_one():
    manager = EventVersionManager()
    assert manager.migrate_event(event(EventType.TRADE_EXECUTED, TRADE), "1.1.0").data["order_id"] is None
    given = event(EventType.TRADE_EXECUTED, {**TRADE, "order_id": "o"})
    assert manager.migrate_event(given, "1.1.0").data["order_id"] == "o"


def test_a_type_that_did_not_change_gets_the_version():
    old = event(EventType.RISK_ALERT, {"a": [1]})
    new = EventVersionManager().migrate_event(old, "1.1.0")
    assert (new.data, new.metadata.schema_version) == ({"a": [1]}, "1.1.0")
    assert new.data["a"] is not old.data["a"]
    assert new.event_id == old.event_id


def test_migrating_to_the_same_version_is_a_copy():
    old = event(EventType.TRADE_EXECUTED, TRADE)
    new = EventVersionManager().migrate_event(old, "1.0.0")
    assert new == old
    assert new is not old


@pytest.mark.parametrize(
    ("version", "target", "data"),
    [("1.0.0", "2.0.0", {}), ("0.1.0", "1.0.0", {}), ("1.1.0", "1.0.0", {}), ("1.0.0", "1.1.0", [1])],
)
def test_where_there_is_no_way_the_error_says_between_what(version, target, data):
    with pytest.raises(UpcastError) as caught:
        EventVersionManager().migrate_event(event(EventType.TRADE_EXECUTED, data, version), target)
    assert (caught.value.from_version, caught.value.to_version) == (version, target)
    assert caught.value.event_type == "trade_executed"


def test_versions_are_ordered_as_semantic_versions():
    ordered = ["0.9.0", "1.0.0-rc1", "1.0.0", "1.1.0", "1.9.0", "1.10.0", "2.0.0"]
    assert sorted([ordered[-1], *ordered[:-1]], key=version_order) == ordered
