"""What of a picture gets onto the page, and how much of it at most."""

import sys
from dataclasses import replace

import pytest

from immich_job_daemon.model.queue import Queue
from immich_job_daemon.model.reason import Reason
from immich_job_daemon.status.status import ProblemKind, Status
from immich_job_daemon.web.ui.i18n import PLURALS, words
from immich_job_daemon.web.ui.view import MOST_ROWS, View, view
from tests.web.ui.sample_statuses import AT, NOW, busy, held, idle, rehearsed, troubled, unknown


def seen(status: Status, now: float = NOW) -> View:
    return view(status, words("en"), 1, now)


def crowd(number: int) -> Status:
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
    labels = [row.name for row in seen(busy()).queues]
    assert labels[:5] == [
        "sidecar",
        "metadataExtraction",
        "storageTemplateMigration",
        "thumbnailGeneration",
        "smartSearch",
    ]
    assert len(labels) == 13


def test_protected_and_refused_ones_are_apart() -> None:
    status = replace(busy(), reasons={**busy().reasons, "ocr": Reason.UNPAUSABLE})
    found = seen(status)
    assert "ocr" in [row.name for row in found.apart]
    assert "ocr" not in [row.name for row in found.queues]
    assert len(found.apart) == 7


def test_a_protected_one_that_is_paused_is_counted() -> None:
    assert seen(busy()).stopped == 1


def test_thousands_of_queues_are_counted_not_shown() -> None:
    found = seen(crowd(5000))
    assert (len(found.queues), found.more) == (MOST_ROWS, 2500 - MOST_ROWS)
    assert (len(found.apart), found.more_apart) == (MOST_ROWS, 2500 - MOST_ROWS)


def test_a_queue_without_a_reason_is_left_out() -> None:
    status = replace(busy(), reasons={})
    assert seen(status).queues == ()


def test_a_rehearsal_is_told() -> None:
    assert seen(rehearsed()).is_dry_run
    assert not seen(busy()).is_dry_run


@pytest.mark.parametrize("trouble", ProblemKind)
@pytest.mark.parametrize("language", PLURALS)
def test_every_trouble_has_a_title_and_an_advice(trouble: ProblemKind, language: str) -> None:
    found = view(troubled(trouble, "in English"), words(language), 1, NOW).trouble
    assert found is not None
    assert found.title != found.advice != ""
    assert (found.details, found.since) == ("in English", AT - 395)


def test_old_figures_say_how_old_they_are() -> None:
    found = seen(troubled()).trouble
    assert found is not None
    assert found.seen == AT - 400


def test_a_loop_that_hangs_is_a_trouble() -> None:
    found = seen(busy(), now=busy().next_due + 5).trouble
    assert found is not None
    assert (found.title, found.seen) == ("The daemon hangs", AT - 1)


@pytest.mark.parametrize("status", [busy(), idle(), held(), unknown()])
def test_without_a_problem_there_is_none(status: Status) -> None:
    assert seen(status).trouble is None
