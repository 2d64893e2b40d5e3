"""One thing that must be seen of the daemon."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Expectation:
    """Something that must not exceed ``most``; both figures are in ``unit``."""

    what: str
    most: float
    seen: float
    unit: str = ""

    @property
    def is_met(self) -> bool:
        """Whether what was seen is as expected."""
        return self.seen <= self.most
