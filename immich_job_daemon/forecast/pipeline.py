"""Immich's pipeline: which queue's jobs lead to jobs in which other queue. Pure.

A job of an upload leads to a dozen follow-up jobs in eight queues; a job of a run over all
thumbnails leads to none. Immich does not report which of the two a job belongs to, but polls show
its origin: it arrived as a follow-up of another queue's job, or from outside. A batch is all jobs
of one queue with the same origin. How many follow-ups its jobs have is predicted

- from its own jobs, once enough of them are completed;
- before that, from earlier batches of the same origin;
- if those differed, or there were none, only as a range.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from math import inf, sqrt
from typing import Final, NamedTuple


class FanOut(Enum):
    """How many follow-ups the jobs of a queue have in another queue."""

    ALL_OR_NONE = "one for each job of a batch, or none for the whole batch"
    SOME = "one for some of the jobs"
    PER_FACE = "one for each face in a photo"
    PER_FILE = "one for each of thousands of files"


MAX_RATIO: Final[Mapping[FanOut, float]] = {
    FanOut.ALL_OR_NONE: 1.0,
    FanOut.SOME: 1.0,
    FanOut.PER_FACE: 10.0,
    FanOut.PER_FILE: 10_000.0,
}
"""Most follow-ups per job, averaged over a batch."""

DOWNSTREAM: Final[Mapping[str, Mapping[str, FanOut]]] = {
    "library": {"sidecar": FanOut.PER_FILE},
    "sidecar": {"metadataExtraction": FanOut.ALL_OR_NONE},
    "metadataExtraction": {"storageTemplateMigration": FanOut.ALL_OR_NONE},
    "storageTemplateMigration": {"thumbnailGeneration": FanOut.ALL_OR_NONE},
    "thumbnailGeneration": {
        "smartSearch": FanOut.ALL_OR_NONE,
        "faceDetection": FanOut.ALL_OR_NONE,
        "ocr": FanOut.ALL_OR_NONE,
        "videoConversion": FanOut.SOME,
    },
    "smartSearch": {"duplicateDetection": FanOut.ALL_OR_NONE},
    "faceDetection": {"facialRecognition": FanOut.PER_FACE},
    "facialRecognition": {"thumbnailGeneration": FanOut.SOME},
}
"""The queues in which the jobs of a queue may have follow-ups.

The first two come from Immich's source, the others were observed on Immich 3.1.0.
"""

WAITS_FOR: Final[Mapping[str, tuple[str, ...]]] = {
    "facialRecognition": ("thumbnailGeneration", "faceDetection"),
}
"""Queues with a job that waits until these other queues have no active job.

Observed on Immich 3.1.0.
"""
WAITING_ORIGIN: Final = "faceDetection"
"""Origin of the batches that contain such a job."""

PIPELINE_ORDER: Final = (
    *DOWNSTREAM,
    "ocr",
    "videoConversion",
    "duplicateDetection",
)
"""All queues of the pipeline, upstream queues first.

The exception is facialRecognition, which leads back to thumbnailGeneration.
"""

UPSTREAM: Final[Mapping[str, tuple[str, ...]]] = {
    name: tuple(source for source, targets in DOWNSTREAM.items() if name in targets)
    for name in PIPELINE_ORDER
}
"""The reverse of ``DOWNSTREAM``."""

OUTSIDE: Final = "outside"
"""Origin of jobs that are not follow-ups: an upload, a run over all assets."""
UNKNOWN: Final = "unknown"
"""Origin of jobs that were already pending at the first poll."""

MIN_SAMPLE: Final = 10
"""Completed jobs of a batch from which its other jobs are predicted."""
BATCH_GAP: Final = 60.0
"""Seconds without a pending job after which new jobs of the same origin are a new batch."""

EPSILON: Final = 1e-6
"""Jobs that count as none: a difference of fractions is seldom exactly 0."""

_MAX_SAMPLE: Final = 200.0
"""Size of a sample in jobs. Beyond it, older jobs count less and less."""
_FORGETTING: Final = 0.25
"""How far earlier bounds close in on the ratio of a later batch, as a share of the distance."""
_NONE_BELOW: Final = 0.02
_ALL_ABOVE: Final = 0.9


class Bounds(NamedTuple):
    """The range in which a number lies."""

    lower: float
    upper: float

    @property
    def midpoint(self) -> float:
        """The mean of the two bounds."""
        return (self.lower + self.upper) / 2


class Sample(NamedTuple):
    """Completed jobs of a batch, and the follow-ups that they had in one other queue."""

    completions: float = 0.0
    follow_ups: float = 0.0


@dataclass(frozen=True, slots=True)
class Batch:
    """The jobs of one queue that have the same origin.

    Attributes:
        samples: what its completed jobs led to, by downstream queue.
        earlier_ratios: follow-ups per job of earlier batches, by downstream queue.
        pending_at: when it last had a pending job, in seconds of the caller's clock.
    """

    pending: float = 0.0
    samples: Mapping[str, Sample] = field(default_factory=dict)
    earlier_ratios: Mapping[str, Bounds] = field(default_factory=dict)
    pending_at: float = -inf


Batches = Mapping[str, Mapping[str, Batch]]
"""Batches by queue and by origin; those with pending jobs in their order of arrival."""


def downstream_of(name: str, origin: str) -> Mapping[str, FanOut]:
    """Return the queues in which a queue's jobs of this origin may have follow-ups.

    >>> sorted(downstream_of("smartSearch", OUTSIDE)), downstream_of("ocr", OUTSIDE)
    (['duplicateDetection'], {})
    """
    if origin == "facialRecognition":
        # The thumbnail of a person leads to nothing, which is where the cycle ends.
        return {}
    return DOWNSTREAM.get(name, {})


def follow_up_ratio(batch: Batch, target: str, fan_out: FanOut) -> Bounds:
    """Return how many follow-ups in another queue each pending job of the batch will have."""
    completions, follow_ups = batch.samples.get(target, Sample())
    earlier = batch.earlier_ratios.get(target)
    if completions < MIN_SAMPLE:
        if fan_out is FanOut.ALL_OR_NONE and _leads_nowhere(batch):
            return Bounds(0.0, 0.0)
        if fan_out is FanOut.SOME:
            # The share of videos in one album says nothing about the next.
            return Bounds(0.0, earlier.upper if earlier else MAX_RATIO[fan_out])
        return earlier or Bounds(0.0, MAX_RATIO[fan_out])
    ratio = follow_ups / completions
    if fan_out is FanOut.ALL_OR_NONE:
        # A poll may fall between the end of a job and the arrival of its follow-up.
        ratio = 0.0 if ratio < _NONE_BELOW else 1.0 if ratio > _ALL_ABOVE else ratio
    error = sqrt(max(0.0, ratio * (1 - ratio)) / completions)
    lower, upper = max(0.0, ratio - error), ratio + error
    if fan_out is FanOut.SOME and earlier:
        # The videos of an album are often at its end, not spread evenly among the photos.
        return Bounds(min(lower, earlier.lower), max(upper, earlier.upper))
    return Bounds(lower, upper)


def _leads_nowhere(batch: Batch) -> bool:
    """Whether its completed jobs had no follow-ups, in at least two downstream queues."""
    samples = [sample for sample in batch.samples.values() if sample.completions >= MIN_SAMPLE]
    return len(samples) > 1 and not any(sample.follow_ups for sample in samples)


def split_pending(batches: Mapping[str, Batch], pending: float) -> dict[str, float]:
    """Return the pending jobs of a queue by origin, oldest first. The batches may be one poll old.

    >>> batches = {OUTSIDE: Batch(pending=5), "ocr": Batch(pending=2)}
    >>> split_pending(batches, 4), split_pending(batches, 9)
    ({'outside': 2, 'ocr': 2}, {'outside': 5.0, 'ocr': 4.0})
    """
    completed = max(0.0, sum(batch.pending for batch in batches.values()) - pending)
    split: dict[str, float] = {}
    for origin, batch in batches.items():
        completed_here = min(batch.pending, completed)
        completed -= completed_here
        if batch.pending - completed_here > EPSILON:
            split[origin] = batch.pending - completed_here
    more = pending - sum(split.values())
    if more > EPSILON:
        newest = next(reversed(split), UNKNOWN)
        split[newest] = split.get(newest, 0.0) + more
    return split


def current_batch(batches: Mapping[str, Batch]) -> tuple[str, Batch]:
    """Return the batch that a queue works on, or worked on last, with its origin."""
    found = next(((origin, batch) for origin, batch in batches.items() if batch.pending > 0), None)
    if found is None and batches:
        found = max(batches.items(), key=lambda item: item[1].pending_at)
    return found or (UNKNOWN, Batch())


def update_batches(
    batches: Mapping[str, Batch], arrivals: Mapping[str, float], pending: float, now: float
) -> dict[str, Batch]:
    """Return the batches of a queue after a poll, by origin.

    ``arrivals`` has the jobs by origin that arrived since the last poll. The jobs that are not
    pending any more are completed, oldest first.
    """
    updated = dict(batches)
    # The largest group first: it arrived all at once, so before jobs that trickle in.
    for origin, jobs in sorted(arrivals.items(), key=lambda item: -item[1]):
        if jobs > 0:
            batch = updated.get(origin, Batch())
            if batch.pending <= 0:
                updated.pop(origin, None)  # It moves behind the others.
                batch = _next_batch(batch) if now - batch.pending_at >= BATCH_GAP else batch
            updated[origin] = replace(batch, pending=batch.pending + jobs)
    split = split_pending(updated, pending)
    for origin in split:
        updated.setdefault(origin, Batch())
    return {
        origin: replace(batch, pending=split.get(origin, 0.0), pending_at=now)
        if batch.pending or origin in split
        else batch
        for origin, batch in updated.items()
        if origin != UNKNOWN or origin in split
    }


def add_samples(batch: Batch, samples: Mapping[str, Sample]) -> Batch:
    """Return the batch with new samples, by downstream queue, added to its own."""
    merged = dict(batch.samples)
    for target, new in samples.items():
        old = merged.get(target, Sample())
        completions = old.completions + new.completions
        follow_ups = old.follow_ups + new.follow_ups
        scale = min(1.0, _MAX_SAMPLE / completions)
        merged[target] = Sample(completions * scale, follow_ups * scale)
    return replace(batch, samples=merged)


def _next_batch(batch: Batch) -> Batch:
    """Return the batch that follows this one, with the same origin."""
    samples, ratios = dict(batch.samples), dict(batch.earlier_ratios)
    for target, (completions, follow_ups) in batch.samples.items():
        # A smaller sample proves nothing yet, so the next batch goes on with it.
        if completions >= MIN_SAMPLE:
            ratio = follow_ups / completions
            lower, upper = ratios.get(target, Bounds(ratio, ratio))
            ratios[target] = Bounds(
                min(ratio, lower + _FORGETTING * (ratio - lower)),
                max(ratio, upper - _FORGETTING * (upper - ratio)),
            )
            del samples[target]
    return replace(batch, samples=samples, earlier_ratios=ratios)
