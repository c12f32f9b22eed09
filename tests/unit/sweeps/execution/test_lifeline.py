"""What a driver hangs on: noticed where it is gone or silent, started anew, and not too often."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from record_helpers import grid, sweep_state
from tune_helpers import Scripted, greeter

from sweeps.execution import lifeline as lifeline_module
from sweeps.execution.cluster import Door, answers
from sweeps.execution.in_flight import RunsInFlight
from sweeps.execution.lifeline import RESTARTS, Lifeline, RayGoneError, RayLost, Watch
from sweeps.execution.tune_hooks import SourceSearcher


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"PROBE_S": 0.01, "ANSWER_S": 0.05, "STUCK_S": 0.3}.items():
        monkeypatch.setattr(lifeline_module, name, seconds)
    monkeypatch.setattr(lifeline_module, "MOST_SILENT", 3)


@pytest.fixture
def grpc() -> Iterator[Door]:
    with greeter() as door:
        yield door


@pytest.fixture
def mute() -> Iterator[Door]:
    """Where the kernel takes connections for a process that is stopped."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


@pytest.fixture
def closed() -> Door:
    with socket.create_server(("127.0.0.1", 0)) as server:
        door: Door = server.getsockname()
    return door


def test_a_server_answers_a_stopped_one_does_not_and_a_dead_one_refuses(
    grpc: Door, mute: Door, closed: Door
) -> None:
    assert answers(grpc, 5)
    assert not answers(mute, 0.05)
    with pytest.raises(ConnectionRefusedError):
        answers(closed, 5)


def wait_for(watch: Watch) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        watch.check()
        time.sleep(0.01)


def test_what_refuses_is_gone_and_what_is_silent_for_long(
    grpc: Door, mute: Door, closed: Door
) -> None:
    with pytest.raises(RayLost, match=r"^its raylet is gone$"), Watch({"raylet": closed}) as watch:
        wait_for(watch)
    doors = {"raylet": grpc, "gcs_server": mute}
    with pytest.raises(RayLost, match=r"^its gcs_server does not answer$"), Watch(doors) as watch:
        wait_for(watch)


def test_what_is_silent_for_a_short_time_is_not_gone(grpc: Door, mute: Door) -> None:
    doors = {"raylet": mute}
    with Watch(doors) as watch:
        while watch._silent["raylet"] < 2:
            time.sleep(0.001)
        doors["raylet"] = grpc
        time.sleep(0.3)
        watch.check()
        assert watch._silent["raylet"] == 0


def test_a_driver_that_hangs_in_a_call_is_interrupted_and_in_the_end_ended(
    closed: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    monkeypatch.setattr(lifeline_module, "end_at_once", ended.append)
    with pytest.raises(RayLost, match="its raylet is gone"), Watch({"raylet": closed}):
        time.sleep(20)
    assert ended == []

    def hang() -> None:
        try:
            time.sleep(20)
        finally:  # as a call that no signal reaches
            time.sleep(1)

    with pytest.raises(RayLost), Watch({"raylet": closed}):
        hang()
    assert len(ended) == 1
    assert "hangs in a call" in ended[0]


def test_a_thread_beside_the_main_one_is_told_and_neither_is_interrupted_or_ended(
    closed: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    lost: list[RayLost] = []
    monkeypatch.setattr(lifeline_module, "end_at_once", ended.append)

    def drive() -> None:
        try:
            with Watch({"raylet": closed}) as watch:
                time.sleep(1)  # as a call that hangs, far longer than `_soon` allows
                watch.check()
        except RayLost as error:
            lost.append(error)

    thread = threading.Thread(target=drive)
    thread.start()
    thread.join()
    assert [str(error) for error in lost] == ["its raylet is gone"]
    assert ended == []


def test_an_interrupt_by_a_person_stays_one(grpc: Door) -> None:
    with pytest.raises(KeyboardInterrupt), Watch({"raylet": grpc}):
        raise KeyboardInterrupt


def test_it_is_started_anew_a_few_times_and_a_cluster_never(closed: Door) -> None:
    said: list[str] = []
    ended: list[str] = []
    lifeline = Lifeline({}, lambda: {"raylet": closed}, ended.append, said.append)
    lost = RayLost("raylet", "is gone")
    for _ in range(RESTARTS):
        lifeline.restart(lost)
    assert lifeline.doors == {"raylet": closed}
    assert ended == ["raylet"] * RESTARTS
    assert said == [
        f"Ray's local node died (its raylet is gone); starting it anew, {n} of {RESTARTS}"
        for n in range(1, RESTARTS + 1)
    ]
    with pytest.raises(RayGoneError, match=f"started anew {RESTARTS} times"):
        lifeline.restart(lost)
    with pytest.raises(RayGoneError, match="the Ray cluster is lost: its raylet is gone"):
        Lifeline({}).restart(lost)


def test_a_restart_that_fails_is_a_fault_and_one_that_hangs_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> dict[str, Door]:
        raise RuntimeError("no room")

    with pytest.raises(RayGoneError, match="no room"):
        Lifeline({}, fails, say=lambda text: None).restart(RayLost("raylet", "is gone"))
    exits: list[int] = []
    monkeypatch.setattr(lifeline_module, "START_S", 0.05)
    monkeypatch.setattr(os, "_exit", exits.append)

    def hangs() -> dict[str, Door]:
        time.sleep(0.5)
        return {}

    Lifeline({}, hangs, say=lambda text: None).restart(RayLost("raylet", "is gone"))
    assert exits == [1]
    assert capsys.readouterr().err.endswith("the same command resumes\n")


def test_runs_under_way_are_put_back_to_be_drawn_first_and_the_source_hears_nothing_twice(
    tmp_path: Path,
) -> None:
    state = sweep_state(tmp_path, grid([0.01], seeds=range(3)))
    source = Scripted(state.runs, bar=0.2)
    in_flight = RunsInFlight(source=source)
    first, second = in_flight.suggest(), in_flight.suggest()
    assert first is not None
    assert second is not None
    key = first.spec.training_key
    assert not in_flight.on_result(second.spec.training_key, [(1, 0.9)])
    assert in_flight.on_result(key, [(1, 0.9), (2, 0.1)])
    told = list(source.told)
    in_flight.requeue_all()
    assert in_flight.under_way == {}
    assert not in_flight.empty
    assert not in_flight.drained
    searcher = SourceSearcher(in_flight, most=9)
    suggested = [searcher.suggest(str(i)) for i in range(3)]
    assert [one["training_key"] for one in suggested if one is not None] == [
        run.spec.training_key for run in state.runs
    ]
    assert not in_flight.on_result(second.spec.training_key, [(1, 0.9)])
    assert in_flight.on_result(key, [(1, 0.9), (2, 0.1)])
    assert source.told == told
