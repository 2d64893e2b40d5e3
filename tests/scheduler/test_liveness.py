"""Every queue with work and an open gate runs within a bounded time, in a model of Immich."""

from dataclasses import dataclass
from typing import Final

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Action
from immich_job_daemon.model.settings import Settings
from immich_job_daemon.scheduler.decide import decide
from immich_job_daemon.scheduler.state import SchedulerState
from tests.support.settings import settings_with

NAMES: Final = ("metadataExtraction", "thumbnailGeneration", "smartSearch", "faceDetection", "ocr")
JOB: Final = 3
"""Seconds that a job takes in the model."""


@dataclass
class Model:
    """Immich with one worker a queue; a job takes three seconds, a decision none."""

    backlogs: dict[str, int]

    def __post_init__(self) -> None:
        self.paused = dict.fromkeys(self.backlogs, True)
        self.ends_at: dict[str, int] = {}
        self.last_ran = dict.fromkeys(self.backlogs, 0)
        self.commands = 0

    def tick(self, now: int) -> None:
        """Let a second pass: jobs end, and open queues start their next one."""
        self.ends_at = {name: end for name, end in self.ends_at.items() if end > now}
        for name, left in self.backlogs.items():
            if left and not self.paused[name] and name not in self.ends_at:
                self.backlogs[name] -= 1
                self.ends_at[name] = now + JOB
            if name in self.ends_at:
                self.last_ran[name] = now

    def snapshot(self) -> dict[str, Queue]:
        return {
            name: Queue(name, self.paused[name], active=int(name in self.ends_at), waiting=left)
            for name, left in self.backlogs.items()
        }

    def round(self, state: SchedulerState, settings: Settings, now: int) -> SchedulerState:
        """Decide and carry out until nothing is left to do."""
        sent = 0
        for _ in range(6):
            decision = decide(self.snapshot(), state, settings, float(now))
            state = decision.state
            for command in decision.commands:
                self.paused[command.queue] = command.action is Action.PAUSE
                sent += 1
            if not decision.commands:
                break
        # Each queue is paused and resumed once at most: more would be going back and forth.
        assert sent <= 2 * len(self.backlogs), decision
        self.commands += sent
        return state


def longest_waits(settings: Settings, backlogs: dict[str, int], seconds: int) -> dict[str, int]:
    """Return how long each queue with work waited at most between two jobs of its own."""
    model = Model(dict(backlogs))
    state = SchedulerState(taken_over=True, had_failure=False, paused_by_daemon=frozenset(backlogs))
    waits = dict.fromkeys(backlogs, 0)
    for now in range(seconds):
        model.tick(now)
        state = model.round(state, settings, now)
        running = set(model.ends_at)
        assert len(running) <= settings.max_concurrent_jobs
        for group in settings.exclusive:
            assert len(running & group) <= 1
        for name, left in model.backlogs.items():
            if left:
                waits[name] = max(waits[name], now - model.last_ran[name])
    return waits


MODELS: Final = frozenset({"smartSearch", "faceDetection", "ocr"})


def test_max_wait_holds_within_an_exclusive_group() -> None:
    limits = settings_with(1, exclusive=(MODELS,), max_wait=60.0)
    waits = longest_waits(limits, {"ocr": 3000, "smartSearch": 5}, 300)
    assert waits["smartSearch"] <= 60 + JOB


def test_max_wait_holds_for_a_queue_in_two_groups() -> None:
    """Both rivals must let it go first, and do so together."""
    groups = (
        frozenset({"smartSearch", "thumbnailGeneration"}),
        frozenset({"smartSearch", "ocr"}),
    )
    limits = settings_with(2, exclusive=groups, max_wait=60.0)
    backlogs = {"thumbnailGeneration": 3000, "ocr": 3000, "smartSearch": 5}
    waits = longest_waits(limits, backlogs, 400)
    assert waits["smartSearch"] <= 60 + JOB


def test_yielding_to_a_rival_does_not_go_back_and_forth() -> None:
    limits = settings_with(1, exclusive=(MODELS,), yield_after=30.0)
    model = Model({"ocr": 3000, "smartSearch": 0})
    state = SchedulerState(
        taken_over=True, had_failure=False, paused_by_daemon=frozenset(model.backlogs)
    )
    for now in range(60):
        model.tick(now)
        state = model.round(state, limits, now)
    before = model.commands
    model.backlogs["smartSearch"] = 5
    for now in range(60, 120):
        model.tick(now)
        state = model.round(state, limits, now)
    assert model.backlogs["smartSearch"] == 0
    assert model.commands - before <= 6


groups = st.lists(
    st.frozensets(st.sampled_from(NAMES), min_size=2, max_size=3), max_size=3, unique=True
)


@given(
    limit=st.integers(1, 3),
    exclusive=groups.map(tuple),
    yield_after=st.sampled_from([None, 10.0, 40.0]),
    backlogs=st.fixed_dictionaries({name: st.sampled_from([0, 2, 1000]) for name in NAMES}),
)
@hypothesis_settings(max_examples=40)
def test_every_queue_with_work_has_its_turn_with_max_wait(
    limit: int,
    exclusive: tuple[frozenset[str], ...],
    yield_after: float | None,
    backlogs: dict[str, int],
) -> None:
    limits = settings_with(limit, exclusive=exclusive, yield_after=yield_after, max_wait=60.0)
    waits = longest_waits(limits, backlogs, 400)
    # While one queue drains, others may wait for a job each: the bound is a multiple of MAX_WAIT.
    assert max(waits.values()) <= 3 * 60
