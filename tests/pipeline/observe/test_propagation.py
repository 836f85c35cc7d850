"""Trace headers of Kafka records."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.observe.propagation import TRACE_HEADERS, replace_trace_headers, trace_context
from schemas.event import Headers

NEW: Headers = (("traceparent", b"00-new"), ("tracestate", b"a=1"))
NAMES = st.one_of(
    st.text("aceprtTPx-é", max_size=12),
    st.sampled_from(["traceparent", "TraceParent", "TRACESTATE", "Baggage", "x-traceparent"]),
)
HEADERS = st.lists(st.tuples(NAMES, st.one_of(st.none(), st.binary(max_size=8))), max_size=8).map(tuple)


def test_old_context_goes_whatever_its_case_and_the_rest_stays_in_order() -> None:
    old: Headers = (
        ("a", b"1"),
        ("TraceParent", b"x"),
        ("baggage", b"u=1"),
        ("b", None),
        ("TRACESTATE", b"y"),
        ("a", b"2"),
        ("traceparent", b"z"),
    )
    assert replace_trace_headers(old, NEW) == (("a", b"1"), ("b", None), ("a", b"2"), *NEW)


def test_nothing_new_changes_nothing() -> None:
    old: Headers = (("traceparent", b"x"), ("a", b"1"))
    assert replace_trace_headers(old, ()) is old


@settings(deadline=None)
@given(HEADERS)
def test_replacing_twice_is_replacing_once(old: Headers) -> None:
    once = replace_trace_headers(old, NEW)
    assert replace_trace_headers(once, NEW) == once
    assert [header for header in once if header[0].lower() in TRACE_HEADERS] == list(NEW)
    assert set(once) - set(NEW) <= set(old)


def test_the_first_context_counts() -> None:
    headers: Headers = (
        ("tracestate", b""),
        ("Traceparent", b"one"),
        ("traceparent", b"two"),
        ("tracestate", b"s=1"),
        ("tracestate", b"s=2"),
    )
    assert trace_context(headers) == ("one", "s=1")
    assert trace_context((("tracestate", b"s=1"), ("traceparent", None))) is None
    assert trace_context((("traceparent", b"\xff"),)) == ("\ufffd", "")
