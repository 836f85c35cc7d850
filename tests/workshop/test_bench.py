"""`penstock bench` on real modules. Its figures are this machine's, so only what must hold of any of them is checked."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.workshop.loop import ROOT, penstock, shop

CASES = "cases: [{name: a, event: {value: abc}}, {name: b, event: {value: {penstock_demo: trap}}}, {name: c, event: {value: d}}]"


def test_the_figures_and_their_plot(tmp_path: Path) -> None:
    registry = shop(tmp_path, "saboteur", CASES)
    done = penstock("bench", "saboteur", "--registry", registry, "--json", "--plot", tmp_path / "plot.svg")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert (found["events"], found["left_out"], found["bytes_per_event"]) == (2, 1, 2.0)
    assert [figure["size"] for figure in found["figures"]] == [1, 16, 256, 2000]
    for figure in found["figures"]:
        assert 0 < figure["us_per_event_low"] <= figure["us_per_event"] <= figure["us_per_event_high"]
        assert figure["events_per_s"] == pytest.approx(1e6 / figure["us_per_event"])
        assert figure["memory_bytes_peak"] >= 65_536
    costs = [figure["us_per_event"] for figure in found["figures"]]
    assert costs[0] > 5 * costs[2], "one crossing for 256 events costs less than 256 crossings"
    assert found["compile_ms"] > 0 and found["start_us"] > 0
    picture = ElementTree.parse(tmp_path / "plot.svg").getroot()
    words = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"saboteur: cost of an event", "saboteur: throughput of one thread", "1", "16", "256", "2,000"} <= words


def test_events_of_a_file_need_no_cases(tmp_path: Path) -> None:
    registry = shop(tmp_path, "saboteur", CASES)
    done = penstock(
        "bench", "enrich", "--registry", registry, "--event", ROOT / "docs" / "examples" / "order.ndjson", at=ROOT
    )
    assert done.code == 0, done.err
    assert done.out.startswith("enrich  ")
    assert "1 events of 302 bytes" in done.out
    assert [line.split()[0] for line in done.out.splitlines()[2:7]] == ["batch", "1", "16", "256", "2,000"]
    assert "compiling" in done.out and "starting" in done.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["saboteur", "--plot", "x.png"], ".png: a plot is SVG — --plot x.svg"),
        (["uppercase"], "there is no case for uppercase"),
        (["saboteur", "--event", "nowhere"], "nowhere: cannot be read"),
        (["saboteur", "--plot", "registry.yaml/x.svg"], "cannot be written"),
        (["saboteur", "--event", "traps.ndjson"], "none of 1 events passes saboteur"),
    ],
)
def test_what_is_refused(tmp_path: Path, arguments: list[str], says: str) -> None:
    registry = shop(tmp_path, "saboteur", CASES)
    (tmp_path / "traps.ndjson").write_text('{"value": {"penstock_demo": "trap"}}\n')
    done = penstock("bench", *arguments, "--registry", registry, at=tmp_path)
    assert done.code == 2
    assert says in done.err
