"""What keeps queues from running beside the limit, as a forecast needs it: hours and groups. Pure.

>>> plan = Plan(Hours({"ocr": ((100.0, 200.0), (300.0, 400.0))}), now=50.0)
>>> plan.is_open("ocr", 0.0), plan.is_open("ocr", 60.0), plan.next_edge(60.0)
(False, True, 150.0)
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

CRUMB: Final = 1e-6
"""Seconds by which two times that are the same may differ."""


def rivals(groups: Iterable[AbstractSet[str]], name: str) -> set[str]:
    """Return the queues that do not run while ``name`` does.

    >>> sorted(rivals([{"ocr", "smartSearch"}, {"ocr", "library"}, {"sidecar"}], "ocr"))
    ['library', 'smartSearch']
    """
    return {rival for group in groups if name in group for rival in group} - {name}


class Hours:
    """From when to when queues may run; never changed.

    Args:
        spans: of each queue that has hours, the earliest first and none in another.
    """

    def __init__(self, spans: Mapping[str, Sequence[tuple[float, float]]]) -> None:
        self._spans = spans
        self._starts = {name: [opens for opens, _ in those] for name, those in spans.items()}
        self._edges = sorted({e for those in spans.values() for span in those for e in span})

    def is_open(self, name: str, moment: float) -> bool:
        """Whether a queue may run at a moment."""
        spans = self._spans.get(name)
        if spans is None:
            return True
        place = bisect_right(self._starts[name], moment)
        return place > 0 and moment < spans[place - 1][1]

    def next_edge(self, moment: float) -> float | None:
        """Return when after a moment a queue may run, or may not any more."""
        place = bisect_right(self._edges, moment)
        return self._edges[place] if place < len(self._edges) else None


@dataclass(frozen=True, slots=True)
class Plan:
    """What keeps queues from running, seen from one moment.

    Attributes:
        hours: when queues may run.
        groups: queues of which only one runs at a time.
        now: the moment, on the clock of the hours; all other times are seconds from it.
    """

    hours: Hours = field(default_factory=lambda: Hours({}))
    groups: Sequence[AbstractSet[str]] = ()
    now: float = 0.0

    def is_open(self, name: str, after: float) -> bool:
        """Whether a queue may run so many seconds from now."""
        return self.hours.is_open(name, self.now + after + CRUMB)

    def next_edge(self, after: float) -> float | None:
        """Return in how many seconds from now a queue may run, or may not any more."""
        edge = self.hours.next_edge(self.now + after + CRUMB)
        return None if edge is None else edge - self.now

    def rivals(self, name: str) -> AbstractSet[str]:
        """Return the queues that do not run while this one does."""
        return rivals(self.groups, name)


ALWAYS: Final = Plan()
"""Nothing but the limit."""
