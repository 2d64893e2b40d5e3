"""What the page shows of the published picture, ready for the templates. Pure."""

from dataclasses import dataclass
from typing import Final

from immich_job_daemon.model.reason import UNMANAGED
from immich_job_daemon.status.status import Status
from immich_job_daemon.web.ui.headline import (
    Figure,
    Headline,
    Progress,
    figures,
    headline,
    is_late,
    progress,
)
from immich_job_daemon.web.ui.i18n import Words
from immich_job_daemon.web.ui.panel import Panel, panel
from immich_job_daemon.web.ui.rows import Row, Rows
from immich_job_daemon.web.ui.timeline import Timeline, draw

MOST_ROWS: Final = 40
"""Queues shown of each kind; Immich 3.1.0 has 19 in all. The others are counted."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong.

    Attributes:
        title: in a few words.
        advice: what to do.
        details: the daemon's own words, in English; "" if there are none.
        since: since when, seconds since 1970; None if nobody knows.
        seen: how old the figures are, if they are old.
    """

    title: str
    advice: str
    details: str
    since: float | None
    seen: float | None


@dataclass(frozen=True, slots=True)
class View:
    """All that the page shows.

    Attributes:
        headline: what is happening.
        trouble: what is wrong, None if nothing is.
        is_rehearsal: whether nothing of it is sent to Immich.
        progress: how far the backlog is.
        figures: the sums.
        panel: the controls for all queues together.
        queues: those that the daemon manages, by priority.
        more: how many of them are not among these.
        apart: those that it leaves alone.
        more_apart: how many of them are not among these.
        stopped: how many of all of those are paused all the same.
        timeline: the last 24 hours, None before anything was seen.
        server: Immich's version, "" if it is not known.
    """

    headline: Headline
    trouble: Trouble | None
    is_dry_run: bool
    progress: Progress | None
    figures: tuple[Figure, ...]
    panel: Panel
    queues: tuple[Row, ...]
    more: int
    apart: tuple[Row, ...]
    more_apart: int
    stopped: int
    timeline: Timeline | None
    server: str


def view(status: Status, words: Words, setting: int, now: float) -> View:
    """Return what the page shows.

    Args:
        status: the picture.
        words: the reader's.
        setting: MAX_CONCURRENT_JOBS.
        now: the present time of the daemon's clock.
    """
    rows = Rows(status, words, now)
    known = [name for name in status.order if name in status.reasons and name in status.queues]
    apart = [name for name in known if status.reasons[name] in UNMANAGED]
    managed = [name for name in known if status.reasons[name] not in UNMANAGED]
    offset = (status.polled_at_unix or 0.0) - (status.polled_at or 0.0)
    return View(
        headline=headline(status, words, now),
        trouble=_trouble(status, words, now),
        is_dry_run=status.is_dry_run,
        progress=progress(status, words, now),
        figures=figures(status, words),
        panel=panel(status, words, setting),
        queues=tuple(rows.row(name) for name in managed[:MOST_ROWS]),
        more=max(0, len(managed) - MOST_ROWS),
        apart=tuple(rows.row(name) for name in apart[:MOST_ROWS]),
        more_apart=max(0, len(apart) - MOST_ROWS),
        stopped=sum(status.queues[name].is_paused for name in apart),
        timeline=draw(status.history, status.order, now, offset),
        server=status.immich_version or "",
    )


def _trouble(status: Status, words: Words, now: float) -> Trouble | None:
    seen = status.polled_at_unix if status.is_stale(now) else None
    if is_late(status, now):
        return Trouble(words("trouble.late"), words("advice.late"), "", None, seen)
    problem = status.problem
    if problem is None:
        return None
    kind = problem.kind.replace(" ", "_")
    return Trouble(
        words(f"trouble.{kind}"), words(f"advice.{kind}"), problem.text, problem.since, seen
    )
