"""Everything that the page shows of a status, ready for the templates. Pure."""

from dataclasses import dataclass
from typing import Final

from immich_job_daemon.model.reason import UNMANAGED
from immich_job_daemon.status.status import Status
from immich_job_daemon.web.ui.controls_view import ControlsView, controls_view
from immich_job_daemon.web.ui.headline import (
    BacklogProgress,
    Headline,
    Total,
    headline,
    is_late,
    progress,
    totals,
)
from immich_job_daemon.web.ui.i18n import Texts
from immich_job_daemon.web.ui.queue_list import QueueRow, QueueRows
from immich_job_daemon.web.ui.timeline import Timeline, timeline

MAX_ROWS: Final = 40
"""Queues shown of each kind; the others are only counted. Immich 3.1.0 has 19 queues in all."""


@dataclass(frozen=True, slots=True)
class ProblemNotice:
    """The notice about the current problem.

    Attributes:
        details: the daemon's own message, in English; "" if there is none.
        since: when it began, seconds since 1970; None if that is unknown.
        polled_at: the age of the numbers below, seconds since 1970; None if they are current.
    """

    title: str
    advice: str
    details: str
    since: float | None
    polled_at: float | None


@dataclass(frozen=True, slots=True)
class View:
    """Everything that the page shows.

    Attributes:
        is_dry_run: whether no commands are sent to Immich.
        progress: of the whole backlog; None if there is none to show.
        queues: the managed queues, by priority.
        more: how many further managed queues are not shown.
        unmanaged: the queues that the daemon leaves alone.
        more_unmanaged: how many further ones are not shown.
        timeline: the last 24 hours; None before the first poll.
        server_version: Immich's; "" while it is unknown.
    """

    headline: Headline
    problem: ProblemNotice | None
    is_dry_run: bool
    progress: BacklogProgress | None
    totals: tuple[Total, ...]
    controls: ControlsView
    queues: tuple[QueueRow, ...]
    more: int
    unmanaged: tuple[QueueRow, ...]
    more_unmanaged: int
    unmanaged_paused: int
    timeline: Timeline | None
    server_version: str


def view(status: Status, texts: Texts, configured_limit: int, now: float) -> View:
    """Return what the page shows; ``now`` is in seconds of the daemon's clock.

    ``configured_limit`` is MAX_CONCURRENT_JOBS.
    """
    rows = QueueRows(status, texts, now)
    known = [name for name in status.order if name in status.reasons and name in status.queues]
    unmanaged = [name for name in known if status.reasons[name] in UNMANAGED]
    managed = [name for name in known if status.reasons[name] not in UNMANAGED]
    offset = (status.polled_at_unix or 0.0) - (status.polled_at or 0.0)
    return View(
        headline=headline(status, texts, now),
        problem=_problem(status, texts, now),
        is_dry_run=status.is_dry_run,
        progress=progress(status, texts, now),
        totals=totals(status, texts),
        controls=controls_view(status, texts, configured_limit),
        queues=tuple(rows.row(name) for name in managed[:MAX_ROWS]),
        more=max(0, len(managed) - MAX_ROWS),
        unmanaged=tuple(rows.row(name) for name in unmanaged[:MAX_ROWS]),
        more_unmanaged=max(0, len(unmanaged) - MAX_ROWS),
        unmanaged_paused=sum(status.queues[name].is_paused for name in unmanaged),
        timeline=timeline(status.history, status.order, now, offset),
        server_version=status.immich_version or "",
    )


def _problem(status: Status, texts: Texts, now: float) -> ProblemNotice | None:
    polled_at = status.polled_at_unix if status.is_stale(now) else None
    if is_late(status, now):
        return ProblemNotice(texts("problem.stuck"), texts("advice.stuck"), "", None, polled_at)
    problem = status.problem
    if problem is None:
        return None
    kind = problem.kind.replace(" ", "_")
    return ProblemNotice(
        texts(f"problem.{kind}"), texts(f"advice.{kind}"), problem.text, problem.since, polled_at
    )
