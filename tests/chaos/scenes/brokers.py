"""A broker that is restarted, killed, stands still, or has no room left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.member import send
from tests.chaos.scenes.kills import SMALL_BATCHES
from tests.chaos.stage import Stage

REQUEST_TIMEOUT_S = 4
_DISK_BYTES = 64 << 20


def restarts(stage: Stage, events: int) -> None:
    """The broker goes away and comes back, cleanly and not, under two members."""
    hows = ["stop", "kill"] * (3 if stage.full else 1)
    stage.chance.shuffle(hows)
    pauses = [stage.chance.uniform(4.0, 8.0) if stage.full else stage.chance.uniform(2.0, 3.0) for _ in hows]
    stage.say("broker: " + ", ".join(f"{how} after {pause:.2f} s" for how, pause in zip(hows, pauses, strict=True)))
    broker = stage.broker()
    streams = stage.streams(broker)
    registry = stage.registry("registry", broker.bootstrap, route=SMALL_BATCHES)
    members = [stage.member(name, registry) for name in ("left", "right")]
    feed = stage.feed(streams, events, seconds=sum(pauses) + 5.0 * len(hows))
    for member in members:
        member.start()
    stage.until(lambda: stage.done(streams) > 0, "the first commit")
    for how, pause in zip(hows, pauses, strict=True):
        time.sleep(pause)
        stage.broke(f"broker {how}")
        getattr(broker, how)()
        broker.start()
    feed.finish()
    stage.settle(streams)
    for member in members:
        member.check()
        member.terminate()
    stage.verify(streams)


def stands_still(stage: Stage, events: int) -> None:
    """The broker's process is stopped for longer than the request timeout (and the session's), then goes on."""
    times = 3 if stage.full else 1
    lengths = [stage.chance.uniform(REQUEST_TIMEOUT_S + 2.0, 2.5 * REQUEST_TIMEOUT_S) for _ in range(times)]
    stage.say("stands still for " + ", ".join(f"{length:.2f} s" for length in lengths))
    broker = stage.broker()
    streams = stage.streams(broker)
    registry = stage.registry(
        "registry", broker.bootstrap, route=SMALL_BATCHES, kafka=f"request_timeout: {REQUEST_TIMEOUT_S}s"
    )
    members = [stage.member(name, registry) for name in ("left", "right")]
    feed = stage.feed(streams, events, seconds=sum(lengths) + 6.0 * times)
    for member in members:
        member.start()
    stage.until(lambda: stage.done(streams) > 0, "the first commit")
    for length in lengths:
        stage.pause(2.0, 4.0)
        stage.broke(f"broker stopped for {length:.1f} s")
        with _standing_still(broker.folder):
            time.sleep(length)
        before = stage.done(streams)
        recovered = stage.until(lambda before=before: stage.done(streams) > before, "a commit after it")  # type: ignore[misc]
        stage.say(f"a commit {recovered:.1f} s after it went on")
    feed.finish()
    stage.settle(streams)
    for member in members:
        member.check()
        member.terminate()
    stage.verify(streams)


@contextmanager
def _standing_still(folder: Path) -> Iterator[None]:
    pid = int((folder / "kafka.pid").read_text())
    send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        send(pid, signal.SIGCONT)


def disk_full(stage: Stage, events: int) -> None:
    """The broker's disk fills up: it gives up its log directory and ends; with room and a new start everything goes on."""
    with _small_disk(stage.broker_folder / "logs") as disk:
        broker = stage.broker(properties={"log.index.size.max.bytes": "65536"})
        streams = stage.streams(broker)
        registry = stage.registry(
            "registry", broker.bootstrap, route=SMALL_BATCHES, kafka=f"request_timeout: {REQUEST_TIMEOUT_S}s"
        )
        member = stage.member("service", registry)
        feed = stage.feed(streams, events, seconds=20.0 if stage.full else 8.0)
        member.start()
        stage.until(lambda: stage.done(streams) > events // 10, "the first commits")
        ballast = disk / "ballast"
        _fill(ballast, disk)
        stage.broke("the disk is full")
        stage.until(lambda: member.said("is retrying") > 0, "the lanes say that they retry")
        member.check()
        ballast.unlink()
        broker.kill()  # most often it has ended by itself
        stage.pause(0.5, 2.0)
        broker.start()
        stage.say("there is room again, and the broker was started")
        feed.finish()
        stage.settle(streams)
        member.check()
        member.terminate()
        stage.verify(streams)
        broker.close()


def may_mount() -> bool:
    """Whether a tmpfs can be mounted here: it takes root, and a container that allows it."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own. Raises AssertionError where nobody may mount one."""
    folder.mkdir(parents=True)
    mounted = (
        may_mount()
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(folder)],
            check=False,
            capture_output=True,
        ).returncode
    )
    assert mounted, "this scenario mounts a small tmpfs, which takes root: run it as root, or leave it out with --skip"
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _fill(ballast: Path, disk: Path) -> None:
    """Until not a byte is left."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(64))
    assert os.statvfs(disk).f_bavail == 0
