"""A prefix rule lets every topic through that the expression matches, and little more."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.kafka.topic_prefix import Prefix, prefixes
from schemas.topics import matches, pattern_problem

KNOWN = {
    r"shop\.public\..*": [Prefix("shop.public.", False)],
    r"^shop\.(orders|lines)$": [Prefix("shop.", False)],
    r"shop\.orders": [Prefix("shop.orders", True)],
    r"orders|shop\..+|shop\.public\.x": [Prefix("orders", True), Prefix("shop.", False)],
    r"orders-v2?": [Prefix("orders-v", False)],
    r"ab+": [Prefix("ab", False)],
    r"ab{0}c": [Prefix("a", False)],
    r"t\d+": [Prefix("t", False)],
    r"a[|]b|c$": [Prefix("a", False), Prefix("c", True)],
    r".*\.orders": [Prefix("", False)],
    r"a[[]|xyz": [Prefix("", False)],
    r"a[]|]b|xyz": [Prefix("", False)],
}


@pytest.mark.parametrize(("pattern", "expected"), KNOWN.items())
def test_what_matches_begin_with(pattern: str, expected: list[Prefix]) -> None:
    assert prefixes(pattern) == expected


_PIECES = st.sampled_from([*"ab.|*?+()[]^-\\{}1,$", "(?:", "\\.", "{0}", "{1,2}", "[^", "(?i:", "\\d", "a|b"])
_TOPICS = ["".join(letters) for length in range(5) for letters in itertools.product("ab.1", repeat=length)]


@settings(suppress_health_check=[HealthCheck.filter_too_much], max_examples=300)
@given(st.lists(_PIECES, min_size=1, max_size=8).map("".join))
def test_no_matching_topic_is_left_out(pattern: str) -> None:
    assume(pattern_problem(pattern) is None)
    found = prefixes(pattern)
    for topic in filter(lambda topic: matches(pattern, topic), _TOPICS):
        assert any(topic == each.text if each.is_whole else topic.startswith(each.text) for each in found), topic
