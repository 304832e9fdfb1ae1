"""The life of a strategy instance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernel.clock import NS_PER_S
from engine.kernel.scheduler import RESTART_DELAYS_S, RESTART_WINDOW_S, IllegalStep, InstanceState, LifeCycle

S = InstanceState


def test_the_ordinary_life():
    life = LifeCycle()
    for state in (S.WARMUP, S.RUNNING, S.PAUSED, S.RUNNING, S.STOPPING, S.STOPPED, S.RUNNING):
        life.move(state, f"to {state}")
        assert (life.state, life.reason) == (state, f"to {state}")


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (S.STOPPED, S.PAUSED), (S.STOPPED, S.STOPPING), (S.RUNNING, S.STOPPED), (S.RUNNING, S.WARMUP),
        (S.HALTED, S.PAUSED), (S.STOPPING, S.RUNNING), (S.RUNNING, S.CREATED),
    ],
)  # fmt: skip
def test_steps_that_make_no_sense_are_refused_and_change_nothing(start: InstanceState, end: InstanceState):
    life = LifeCycle(start, "before")
    with pytest.raises(IllegalStep, match=f"cannot go from {start} to {end}"):
        life.move(end)
    assert (life.state, life.reason) == (start, "before")


@given(st.lists(st.sampled_from(list(S)), max_size=30))
def test_every_instance_can_still_be_stopped(wanted: list[InstanceState]):
    life = LifeCycle()
    for state in wanted:
        try:
            life.move(state)
        except IllegalStep:
            continue
    if life.state is not S.STOPPED:
        life.move(S.STOPPING)
        life.move(S.STOPPED)
    assert not life.state.is_alive


def test_restarts_come_later_each_time_and_end_with_a_person():
    life = LifeCycle(S.RUNNING)
    delays = []
    for number in range(4):
        delays.append(life.fault(number * NS_PER_S, "boom"))
        assert life.state is S.FAULTED and life.reason == "boom"
        life.move(S.RUNNING)
    assert delays == [*RESTART_DELAYS_S, None]


def test_faults_are_forgiven_after_the_window():
    life = LifeCycle(S.RUNNING)
    window_ns = int(RESTART_WINDOW_S * NS_PER_S)
    for number in range(3):
        life.fault(number, "boom")
        life.move(S.RUNNING)
    assert life.fault(window_ns + 2, "boom") == RESTART_DELAYS_S[0]


def test_a_fault_while_stopped_is_refused():
    with pytest.raises(IllegalStep):
        LifeCycle(S.STOPPED).fault(0, "boom")
