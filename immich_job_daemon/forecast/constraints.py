"""The limits on running queues other than their number: windows and exclusive groups. Pure.

>>> windows = WindowSpans({"ocr": ((100.0, 200.0), (300.0, 400.0))})
>>> constraints = Constraints(windows, now=50.0)
>>> constraints.is_open("ocr", 0.0), constraints.is_open("ocr", 60.0), constraints.next_edge(60.0)
(False, True, 150.0)
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

TIME_TOLERANCE: Final = 1e-6
"""Seconds by which two computed times may differ and still be the same."""


class WindowSpans:
    """When queues may run: the start and end of each window, in order and without overlaps.

    Immutable. A queue without an entry may always run.
    """

    def __init__(self, spans: Mapping[str, Sequence[tuple[float, float]]]) -> None:
        self._spans = spans
        self._starts = {name: [start for start, _ in windows] for name, windows in spans.items()}
        self._edges = sorted(
            {edge for windows in spans.values() for window in windows for edge in window}
        )

    def is_open(self, name: str, moment: float) -> bool:
        """Whether a queue may run at a moment."""
        spans = self._spans.get(name)
        if spans is None:
            return True
        index = bisect_right(self._starts[name], moment)
        return index > 0 and moment < spans[index - 1][1]

    def next_edge(self, moment: float) -> float | None:
        """Return when a window next opens or closes, None if none does."""
        index = bisect_right(self._edges, moment)
        return self._edges[index] if index < len(self._edges) else None


@dataclass(frozen=True, slots=True)
class Constraints:
    """Windows and exclusive groups, with times in seconds from one moment.

    That moment is ``now``, on the clock of ``windows``. Only one queue of a group runs at a time.
    """

    windows: WindowSpans = field(default_factory=lambda: WindowSpans({}))
    groups: Sequence[AbstractSet[str]] = ()
    now: float = 0.0

    def is_open(self, name: str, after: float) -> bool:
        """Whether a queue may run ``after`` seconds from now."""
        return self.windows.is_open(name, self.now + after + TIME_TOLERANCE)

    def next_edge(self, after: float) -> float | None:
        """Return when a window next opens or closes later than ``after`` seconds from now."""
        edge = self.windows.next_edge(self.now + after + TIME_TOLERANCE)
        return None if edge is None else edge - self.now


UNCONSTRAINED: Final = Constraints()
"""Nothing but the limit applies."""
