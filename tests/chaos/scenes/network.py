"""A network that breaks between penstock and its broker: each member has a listener of its own behind a proxy."""

from __future__ import annotations

import time

from tests.chaos.scenes.kills import SMALL_BATCHES
from tests.chaos.stage import Stage
from tests.services.proxy import Network, Proxy

_SESSION_S = 6.0
_REQUEST_TIMEOUT = "request_timeout: 5s"
_WHO = {"left": (0,), "right": (1,), "both": (0, 1)}


def partitions(stage: Stage, events: int) -> None:
    """One member or both are cut off in four ways; most outlast the session, so that a zombie comes back to a moved lane."""
    plan = _plan(stage)
    stage.say("; ".join(f"{who} {mode.name.lower()} {length:.1f} s" for who, mode, length in plan))
    with Proxy() as left, Proxy() as right:
        proxies = (left, right)
        broker = stage.broker(
            listeners=("LEFT", "RIGHT"),
            advertised={"LEFT": left.address, "RIGHT": right.address},
            properties={
                "listener.security.protocol.map": ",".join(
                    f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "CONTROLLER", "LEFT", "RIGHT")
                )
            },
        )
        for name, proxy in (("LEFT", left), ("RIGHT", right)):
            host, _, port = broker.address(name, "127.0.0.1").rpartition(":")
            proxy.target = (host, int(port))
        streams = stage.streams(broker)
        members = [
            stage.member(name, stage.registry(name, proxy.address, route=SMALL_BATCHES, kafka=_REQUEST_TIMEOUT))
            for name, proxy in (("left", left), ("right", right))
        ]
        feed = stage.feed(streams, events, seconds=sum(length + 6.0 for *_, length in plan))
        for member in members:
            member.start()
        stage.until(lambda: all(member.said("is running") for member in members), "both members have lanes")
        for who, mode, length in plan:
            stage.broke(f"{who}: {mode.name.lower()} for {length:.1f} s")
            for index in _WHO[who]:
                proxies[index].set(mode, delay_s=0.2 if mode is Network.PASS else 0.0)
            time.sleep(length)
            for index in _WHO[who]:
                proxies[index].set(Network.PASS)
            before = stage.done(streams)
            recovered = stage.until(lambda before=before: stage.done(streams) > before, "a commit after it")  # type: ignore[misc]
            stage.say(f"healed; a commit {recovered:.1f} s later")
            stage.pause(2.0, 4.0)
        feed.finish()
        stage.settle(streams)
        for member in members:
            member.check()
            member.terminate()
        stage.verify(streams)


def _plan(stage: Stage) -> list[tuple[str, Network, float]]:
    """Who is cut off, how, for how many seconds. `PASS` stands for delays."""
    if not stage.full:
        return [("left", Network.BLACKHOLE, _SESSION_S + stage.chance.uniform(1.0, 3.0))]
    modes = (Network.BLACKHOLE, Network.HALF_OPEN, Network.CUT, Network.PASS)
    plan = [
        (who, mode, stage.chance.uniform(1.0, 2.0) if who == "right" else _SESSION_S + stage.chance.uniform(1.0, 4.0))
        for who in ("left", "right", "both")
        for mode in modes
    ]
    stage.chance.shuffle(plan)
    return plan
