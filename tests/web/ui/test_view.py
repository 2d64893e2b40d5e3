"""What the page shows of a status, and how much at most."""

import sys
from dataclasses import replace

import pytest

from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.status import ProblemKind, Status
from immich_job_daemon.web.ui.i18n import PLURALS, load_texts
from immich_job_daemon.web.ui.view import MAX_ROWS, View, view
from tests.web.ui.sample_statuses import (
    AT,
    NOW,
    all_paused,
    busy,
    dry_run,
    empty,
    starting,
    with_problem,
)


def english(status: Status, now: float = NOW) -> View:
    return view(status, load_texts("en"), 1, now)


def with_many_queues(number: int) -> Status:
    names = [f"queue{place}" for place in range(number)]
    return replace(
        busy(),
        queues={name: Queue(name, is_paused=True, paused=sys.maxsize) for name in names},
        order=tuple(names),
        reasons={
            name: Reason.PROTECTED if place % 2 else Reason.WAITING
            for place, name in enumerate(names)
        },
    )


def test_the_managed_queues_are_in_the_order_of_priority() -> None:
    names = [row.name for row in english(busy()).queues]
    assert names[:5] == [
        "sidecar",
        "metadataExtraction",
        "storageTemplateMigration",
        "thumbnailGeneration",
        "smartSearch",
    ]
    assert len(names) == 13


def test_protected_and_unpausable_queues_are_listed_separately() -> None:
    status = replace(busy(), reasons={**busy().reasons, "ocr": Reason.UNPAUSABLE})
    found = english(status)
    assert "ocr" in [row.name for row in found.unmanaged]
    assert "ocr" not in [row.name for row in found.queues]
    assert len(found.unmanaged) == 7


def test_paused_protected_queues_are_counted() -> None:
    assert english(busy()).unmanaged_paused == 1


def test_beyond_a_maximum_queues_are_only_counted() -> None:
    found = english(with_many_queues(5000))
    assert (len(found.queues), found.more) == (MAX_ROWS, 2500 - MAX_ROWS)
    assert (len(found.unmanaged), found.more_unmanaged) == (MAX_ROWS, 2500 - MAX_ROWS)


def test_a_queue_without_a_reason_is_left_out() -> None:
    status = replace(busy(), reasons={})
    assert english(status).queues == ()


def test_a_dry_run_is_shown() -> None:
    assert english(dry_run()).is_dry_run
    assert not english(busy()).is_dry_run


@pytest.mark.parametrize("kind", ProblemKind)
@pytest.mark.parametrize("language", PLURALS)
def test_every_kind_of_problem_has_a_title_and_advice(kind: ProblemKind, language: str) -> None:
    found = view(with_problem(kind, "in English"), load_texts(language), 1, NOW).problem
    assert found is not None
    assert found.title != found.advice != ""
    assert (found.details, found.since) == ("in English", AT - 395)


def test_stale_numbers_show_their_age() -> None:
    found = english(with_problem()).problem
    assert found is not None
    assert found.polled_at == AT - 400


def test_a_stuck_loop_is_a_problem() -> None:
    found = english(busy(), now=busy().next_due + 5).problem
    assert found is not None
    assert (found.title, found.polled_at) == ("The daemon is stuck", AT - 1)


@pytest.mark.parametrize("status", [busy(), empty(), all_paused(), starting()])
def test_without_a_problem_none_is_shown(status: Status) -> None:
    assert english(status).problem is None
