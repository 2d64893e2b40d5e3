"""The published status, and when it is stale."""

import dataclasses

import pytest

from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.status import Problem, ProblemKind, Status
from tests.web.sample_statuses import AT, BUSY, LOST, NOTHING


def test_a_status_before_the_first_poll_has_no_data() -> None:
    status = Status(3)
    assert (status.limit, status.polled_at, status.problem) == (3, None, None)
    assert status.with_reasons(*Reason) == []


def test_a_status_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Status(1).limit = 2  # type: ignore[misc]


def test_queues_are_selected_by_reason_in_immichs_order() -> None:
    queues = {name: Queue(name, is_paused=True) for name in ("library", "ocr", "migration")}
    status = Status(
        1,
        queues=queues,
        reasons={"ocr": Reason.WAITING, "library": Reason.RUNNING, "migration": Reason.IDLE},
    )
    assert status.with_reasons(Reason.IDLE) == [queues["migration"]]
    assert status.with_reasons(Reason.WAITING, Reason.RUNNING) == [queues["library"], queues["ocr"]]
    assert status.with_reasons(Reason.UNPAUSABLE) == []


# Stale


def test_a_status_is_stale_before_the_first_poll_and_while_immich_is_unreachable() -> None:
    assert not BUSY.is_stale(AT)
    assert NOTHING.is_stale(AT)
    assert LOST.is_stale(AT)


@pytest.mark.parametrize("kind", list(ProblemKind))
@pytest.mark.parametrize(("since", "is_newer_than_poll"), [(1.0, True), (-1.0, False)])
def test_a_problem_makes_the_status_stale_unless_a_poll_has_succeeded_since(
    kind: ProblemKind, since: float, *, is_newer_than_poll: bool
) -> None:
    """A command that Immich refuses is a problem too, but the polls after it are valid."""
    assert BUSY.polled_at_unix is not None
    problem = Problem(kind, "Text.", BUSY.polled_at_unix + since)
    status = dataclasses.replace(BUSY, problem=problem)
    may_poll = {ProblemKind.REFUSED, ProblemKind.UNEXPECTED, ProblemKind.CONTESTED}
    assert status.is_stale(AT) is (is_newer_than_poll or kind not in may_poll)


def test_a_status_is_stale_when_the_next_one_is_overdue() -> None:
    assert not BUSY.is_stale(BUSY.next_due)
    assert BUSY.is_stale(BUSY.next_due + 0.1)
