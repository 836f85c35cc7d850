from __future__ import annotations

import pytest
from pydantic import ValidationError

from schemas.limits import PROFILES
from schemas.registry import LimitsEntry, RegistryFile, RouteEntry, SecurityEntry, TransformerEntry
from schemas.topics import matches, pattern_problem


def refused(model: type, **values: object) -> list[dict[str, object]]:
    with pytest.raises(ValidationError) as caught:
        model(**values)
    return [dict(error) for error in caught.value.errors()]  # type: ignore[attr-defined]


def test_unknown_keys_are_refused_everywhere() -> None:
    models = [RegistryFile, *_models_below(RegistryFile)]
    assert len(models) >= 12
    assert [model.__name__ for model in models if model.model_config.get("extra") != "forbid"] == []


def _models_below(model: type[RegistryFile]) -> list[type[RegistryFile]]:
    return list(model.__mro__[1].__subclasses__())


@pytest.mark.parametrize(
    ("key", "lowest", "highest", "below", "above"),
    [
        ("memory", "64KiB", "4GiB", "63KiB", "5GiB"),
        ("deadline", "10ms", "5m", "9ms", "301s"),
        ("allocation", "4KiB", "1GiB", "1KiB", "2GiB"),
        ("output", "1KiB", "256MiB", "1B", "1GiB"),
        ("stack", "16KiB", "2MiB", "1KiB", "4MiB"),
        ("fuel", 1_000, 1 << 48, 999, (1 << 48) + 1),
        ("table_elements", 0, 10_000_000, -1, 10_000_001),
        ("memories", 1, 16, 0, 17),
    ],
)
def test_limits_have_bounds(key: str, lowest: object, highest: object, below: object, above: object) -> None:
    for inside in (lowest, highest):
        assert getattr(LimitsEntry(**{key: inside}), key) is not None
    for outside in (below, above):
        (error,) = refused(LimitsEntry, **{key: outside})
        assert error["type"] == "refused"


def test_a_profile_may_stand_for_the_mapping() -> None:
    entry = TransformerEntry(module="x.wasm", limits="untrusted")  # type: ignore[arg-type]
    assert entry.limits is not None
    assert entry.limits.profile == "untrusted"
    assert set(PROFILES) == {"untrusted", "database-only", "standard", "trusted"}


def test_one_source_is_a_list_of_one() -> None:
    entry = RouteEntry.model_validate({"from": "a.b", "through": "x", "to": "c"})
    assert entry.sources == ("a.b",)
    assert entry.through == ("x",)


@pytest.mark.parametrize("topic", ["", ".", "..", "a b", "ü", "a" * 250, "a/b", 5, None, "__consumer_offsets", "a\n"])
def test_topics_follow_kafkas_rules(topic: object) -> None:
    assert refused(RouteEntry, **{"from": "a", "through": ["x"], "to": topic})


def test_the_longest_topic_passes() -> None:
    RouteEntry.model_validate({"from": "a", "through": ["x"], "to": "a" * 249})


def test_nothing_shows_secrets() -> None:
    security = SecurityEntry(username="shop-user", password="hunter2", key_password="hunter3", client_secret="hunter5")
    transformer = TransformerEntry(module="x.wasm", config={"salt": "hunter4"})
    for text in (repr(security), str(security), repr(transformer)):
        assert "hunter" not in text
        assert "shop-user" not in text
    with pytest.raises(ValidationError) as caught:
        SecurityEntry.model_validate({"password": ["hunter2"], "protocol": "hunter2", "mechanism": {"a": "hunter2"}})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("pattern", [r"shop\..*", "a|b", "[a-z]+", "(ab)+", "x{2,3}"])
def test_patterns_that_are_taken(pattern: str) -> None:
    assert pattern_problem(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    ["(", "a)|(b", "[", r"(a)\1", "(?=a)b", "a{1000}{1000}{1000}", "a" * 501, "(" * 400, "(?i)a", "x{99999999999}"],
)
def test_patterns_that_are_refused(pattern: str) -> None:
    problem = pattern_problem(pattern)
    assert problem is not None
    assert pattern not in problem or len(pattern) < 8


def test_patterns_match_whole_names_in_linear_time() -> None:
    assert matches(r"shop\..*", "shop.orders")
    assert not matches("shop", "shop.orders")
    assert not matches("a|b", "ab")
    assert not matches("shop", "shop\n")
    assert not matches("(a+)+", "a" * 248 + "!")
