"""Which jobs lead to which others: what is known of Immich, and what was seen of this one.

An upload's first job leads to a dozen others in eight queues, a new run over all thumbnails leads
to none, and Immich tells of no job which of the two it is. But it can be seen how a job came: as a
follow-up of another queue's job, or from outside. A batch is the jobs of one queue that came the
same way. It is believed to go on as it began; one that has not begun is believed to do what
earlier ones did that came the same way; and where those differed, or there were none, nobody
knows. Pure: no I/O, no clock.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from math import inf, sqrt
from typing import Final, NamedTuple


class Share(Enum):
    """How many follow-ups a queue's jobs have in another queue."""

    EACH = "one each, or none at all: that depends on what the batch is"
    SOME = "one for some of them"
    FACES = "one for each face on a photo"
    FILES = "one for each of thousands of files"


MOST: Final[Mapping[Share, float]] = {
    Share.EACH: 1.0,
    Share.SOME: 1.0,
    Share.FACES: 10.0,
    Share.FILES: 10_000.0,
}
"""How many follow-ups a job has at most, on the average of a batch."""

FEEDS: Final[Mapping[str, Mapping[str, Share]]] = {
    "library": {"sidecar": Share.FILES},
    "sidecar": {"metadataExtraction": Share.EACH},
    "metadataExtraction": {"storageTemplateMigration": Share.EACH},
    "storageTemplateMigration": {"thumbnailGeneration": Share.EACH},
    "thumbnailGeneration": {
        "smartSearch": Share.EACH,
        "faceDetection": Share.EACH,
        "ocr": Share.EACH,
        "videoConversion": Share.SOME,
    },
    "smartSearch": {"duplicateDetection": Share.EACH},
    "faceDetection": {"facialRecognition": Share.FACES},
    "facialRecognition": {"thumbnailGeneration": Share.SOME},
}
"""Which queue's jobs may lead to jobs in which other.

Seen on Immich 3.1.0, but for the first two: these are in its source.
"""

WAITS_FOR: Final[Mapping[str, tuple[str, ...]]] = {
    "facialRecognition": ("thumbnailGeneration", "faceDetection"),
}
"""Queues in which jobs wait until these others have nothing active (seen on Immich 3.1.0)."""
WAITING_CAME_FROM: Final = "faceDetection"
"""The way on which jobs come among which is one that waits."""

DOWNSTREAM: Final = (
    *FEEDS,
    "ocr",
    "videoConversion",
    "duplicateDetection",
)
"""The queues that feed or are fed, each behind those that feed it, as far as that is possible."""

SOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    name: tuple(source for source, fed in FEEDS.items() if name in fed) for name in DOWNSTREAM
}
"""FEEDS the other way round."""

OUTSIDE: Final = "outside"
"""The way of jobs that are no follow-ups: an upload, a run over all assets."""
UNKNOWN: Final = "unknown"
"""The way of jobs that were there already at the first look."""

ENOUGH: Final = 10
"""Jobs of a batch after which it is believed to go on as it began."""
APART: Final = 60.0
"""Seconds without a job after which the next ones are a batch of their own."""

CRUMB: Final = 1e-6
"""So much of a job is none: sums of fractions do not end at 0."""

_MEMORY: Final = 200.0
"""Jobs of a batch that count; older ones count less and less."""
_FORGET: Final = 0.25
"""How much of a difference that an earlier batch made is forgotten with each later one."""
_NONE: Final = 0.02
_ALL: Final = 0.9


class Span(NamedTuple):
    """A number of which it is known between which two others it lies."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """What is said if one number has to be said."""
        return (self.low + self.high) / 2


NOTHING: Final = Span(0.0, 0.0)


class Seen(NamedTuple):
    """So many jobs of a batch were done, and so many follow-ups came of them."""

    done: float = 0.0
    gave: float = 0.0


@dataclass(frozen=True, slots=True)
class Batch:
    """The jobs of one queue that came the same way.

    Attributes:
        left: how many of them are pending.
        seen: what came of those that are done, by the queue in which it came.
        usual: the same of earlier batches, as follow-ups for each job.
        at: when one of its jobs was last pending, seconds of the caller's clock.
    """

    left: float = 0.0
    seen: Mapping[str, Seen] = field(default_factory=dict)
    usual: Mapping[str, Span] = field(default_factory=dict)
    at: float = -inf


Batches = Mapping[str, Mapping[str, Batch]]
"""Batches by queue and by way; those that have jobs left in the order in which they came."""


def fed_by(name: str, way: str) -> Mapping[str, Share]:
    """Return where jobs of a queue that came this way may have follow-ups.

    >>> sorted(fed_by("smartSearch", OUTSIDE)), fed_by("ocr", OUTSIDE)
    (['duplicateDetection'], {})
    """
    if way == "facialRecognition":
        # A person's thumbnail leads to nothing; so it all comes to an end.
        return {}
    return FEEDS.get(name, {})


def follow_ups(batch: Batch, target: str, share: Share) -> Span:
    """Return how many follow-ups one more job of the batch has in another queue."""
    done, gave = batch.seen.get(target, Seen())
    usual = batch.usual.get(target)
    if done < ENOUGH:
        if share is Share.EACH and _is_barren(batch):
            return NOTHING
        if share is Share.SOME:
            # One album is no sign of how many videos are in the next.
            return Span(0.0, usual.high if usual else MOST[share])
        return usual or Span(0.0, MOST[share])
    ratio = gave / done
    if share is Share.EACH:
        ratio = 0.0 if ratio < _NONE else 1.0 if ratio > _ALL else ratio
    error = sqrt(max(0.0, ratio * (1 - ratio)) / done)
    low, high = max(0.0, ratio - error), ratio + error
    if share is Share.SOME and usual:
        # Videos come at the end of an album more often than one among ten photos.
        return Span(min(low, usual.low), max(high, usual.high))
    return Span(low, high)


def _is_barren(batch: Batch) -> bool:
    """Whether jobs of the batch were seen to lead to nothing in two queues or more."""
    enough = [seen for seen in batch.seen.values() if seen.done >= ENOUGH]
    return len(enough) > 1 and not any(seen.gave for seen in enough)


def parts(batches: Mapping[str, Batch], pending: float) -> Iterator[tuple[str, Batch, float]]:
    """Yield of which batches the pending jobs of a queue are, the first ones first.

    Args:
        batches: the queue's, by way.
        pending: how many jobs there are: the batches may stem from the look before.

    >>> found = {OUTSIDE: Batch(left=5), "ocr": Batch(left=2)}
    >>> [(way, left) for way, _, left in parts(found, 4)]
    [('outside', 2), ('ocr', 2)]
    >>> [(way, left) for way, _, left in parts(found, 9)]
    [('outside', 5.0), ('ocr', 4.0)]
    """
    gone = max(0.0, sum(batch.left for batch in batches.values()) - pending)
    found = []
    for way, batch in batches.items():
        here = min(batch.left, gone)
        gone -= here
        if batch.left - here > CRUMB:
            found.append((way, batch, batch.left - here))
    more = pending - sum(left for _, _, left in found)
    if more > CRUMB:
        way, batch, left = found.pop() if found else (UNKNOWN, batches.get(UNKNOWN, Batch()), 0.0)
        found.append((way, batch, left + more))
    yield from found


def first(batches: Mapping[str, Batch]) -> tuple[str, Batch]:
    """Return the batch of which a queue does jobs now, or did last, with its way."""
    found = next(((way, batch) for way, batch in batches.items() if batch.left > 0), None)
    if found is None and batches:
        found = max(batches.items(), key=lambda one: one[1].at)
    return found or (UNKNOWN, Batch())


def put(
    batches: Mapping[str, Batch], came: Mapping[str, float], pending: float, now: float
) -> dict[str, Batch]:
    """Return a queue's batches after jobs came and others were done.

    Args:
        batches: what they were.
        came: how many jobs came, by their way.
        pending: how many are pending now; the rest is done, the first that came first.
        now: the time of the look.
    """
    found = dict(batches)
    # What came all at once came before what came one by one.
    for way, number in sorted(came.items(), key=lambda one: -one[1]):
        if number > 0:
            batch = found.get(way, Batch())
            if batch.left <= 0:
                found.pop(way, None)  # Behind the others, then.
                batch = _closed(batch) if now - batch.at >= APART else batch
            found[way] = replace(batch, left=batch.left + number)
    left = {way: number for way, _, number in parts(found, pending)}
    for way in left:
        found.setdefault(way, Batch())
    return {
        way: replace(batch, left=left.get(way, 0.0), at=now) if batch.left or way in left else batch
        for way, batch in found.items()
        if way != UNKNOWN or way in left
    }


def learned(batch: Batch, seen: Mapping[str, Seen]) -> Batch:
    """Return the batch after so many more of its jobs were seen done, with what came of them."""
    merged = dict(batch.seen)
    for target, more in seen.items():
        before = merged.get(target, Seen())
        done, gave = before.done + more.done, before.gave + more.gave
        scale = min(1.0, _MEMORY / done)
        merged[target] = Seen(done * scale, gave * scale)
    return replace(batch, seen=merged)


def _closed(batch: Batch) -> Batch:
    """Return what is remembered of a batch when the next one begins that came the same way."""
    seen, usual = dict(batch.seen), dict(batch.usual)
    for target, (done, gave) in batch.seen.items():
        # Of less than that nothing follows: it is kept until it is more.
        if done >= ENOUGH:
            ratio = gave / done
            low, high = usual.get(target, Span(ratio, ratio))
            usual[target] = Span(
                min(ratio, low + _FORGET * (ratio - low)),
                max(ratio, high - _FORGET * (high - ratio)),
            )
            del seen[target]
    return replace(batch, seen=seen, usual=usual)
