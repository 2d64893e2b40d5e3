"""The measurements as JSON, for the ledger. The field names are part of the ledger's format."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import voluptuous as vol

from immich_job_daemon.forecast.pipeline import Batch, Bounds, Sample
from immich_job_daemon.forecast.rates import MAX_OTHERS, Rate, Rates
from immich_job_daemon.model.queue import MAX_QUEUES, is_queue_name

MAX_PER_QUEUE: Final = 16
"""Most batches of a queue, and most downstream queues of a batch."""
MAX_NUMBER: Final = 1e9
_DIGITS: Final = 6


def _name(value: object) -> str:
    if is_queue_name(value):
        return str(value)
    raise vol.Invalid("is not a queue name")


def _number(value: object) -> float:
    # bool is a subclass of int.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER:
        return float(value)
    raise vol.Invalid(f"is not a number from 0 to {MAX_NUMBER:.0e}")


def _others(value: object) -> int:
    # JSON object keys are strings.
    if value in {str(number) for number in range(MAX_OTHERS + 1)}:
        return int(str(value))
    raise vol.Invalid(f"is not a number of other queues from 0 to {MAX_OTHERS}")


def _positive(value: object) -> float:
    number = _number(value)
    if number > 0:
        return number
    raise vol.Invalid("is not a positive number of seconds")


def _rate(value: object) -> Rate:
    rate = Rate(*_PAIR(value))
    if rate.jobs > 0 and rate.seconds > 0:
        return rate
    raise vol.Invalid("is not a rate: jobs and seconds must be positive")


def _bounds(value: object) -> Bounds:
    bounds = Bounds(*_PAIR(value))
    if bounds.lower <= bounds.upper:
        return bounds
    raise vol.Invalid("has a lower bound above the upper bound")


def _sample(value: object) -> Sample:
    return Sample(*_PAIR(value))


def _batch(value: object) -> Batch:
    fields = _BATCH(value)
    return Batch(pending=fields["left"], samples=fields["seen"], earlier_ratios=fields["usual"])


def _mapping(max_length: int, items: Mapping[Any, Any]) -> vol.All:
    return vol.All(dict, vol.Length(max=max_length), items)


_PAIR: Final = vol.Schema(vol.ExactSequence([_number, _number]))
_BATCH: Final = vol.Schema(
    {
        vol.Optional("left", default=0): _number,
        vol.Optional("seen", default=dict): _mapping(MAX_PER_QUEUE, {_name: _sample}),
        vol.Optional("usual", default=dict): _mapping(MAX_PER_QUEUE, {_name: _bounds}),
    }
)
_SCHEMA: Final = vol.Schema(
    {
        vol.Optional("queues", default=dict): _mapping(MAX_QUEUES, {_name: _rate}),
        vol.Optional("beside", default=dict): _mapping(
            MAX_QUEUES, {_name: _mapping(MAX_OTHERS + 1, {_others: _rate})}
        ),
        vol.Optional("at_most", default=dict): _mapping(MAX_QUEUES, {_name: _positive}),
        vol.Optional("batches", default=dict): _mapping(
            MAX_QUEUES, {_name: _mapping(MAX_PER_QUEUE, {_name: _batch})}
        ),
    }
)


def to_json(rates: Rates) -> dict[str, Any]:
    """Return what is stored of the measurements, for ``json.dumps``.

    >>> to_json(Rates({"ocr": Rate(20, 10)}))["queues"]
    {'ocr': [20.0, 10.0]}
    """
    return {
        "queues": _rates_to_json(rates.queues),
        "beside": {
            name: _rates_to_json(by_others)
            for name, by_others in islice(rates.by_others.items(), MAX_QUEUES)
        },
        "at_most": {
            name: _rounded(seconds)
            for name, seconds in islice(rates.max_service_times.items(), MAX_QUEUES)
        },
        "batches": {
            name: {origin: _batch_to_json(batch) for origin, batch in batches.items()}
            for name, batches in islice(rates.batches.items(), MAX_QUEUES)
        },
    }


def from_json(found: object) -> Rates:
    """Return the measurements from the JSON of ``to_json``.

    Raises:
        ValueError: the JSON is not valid.
    """
    try:
        fields = _SCHEMA(found)
    except vol.Invalid as error:
        raise ValueError(f"not valid as rates: {error}") from error
    return Rates(
        queues=fields["queues"],
        by_others=fields["beside"],
        max_service_times=fields["at_most"],
        batches=fields["batches"],
    )


def _rates_to_json(rates: Mapping[str, Rate] | Mapping[int, Rate]) -> dict[str, list[float]]:
    valid = ((key, rate) for key, rate in rates.items() if rate.jobs > 0 and rate.seconds > 0)
    return {str(key): _pair(rate.jobs, rate.seconds) for key, rate in islice(valid, MAX_QUEUES)}


def _batch_to_json(batch: Batch) -> dict[str, Any]:
    return {
        "left": _rounded(batch.pending),
        "seen": {target: _pair(*sample) for target, sample in batch.samples.items()},
        "usual": {target: _pair(*bounds) for target, bounds in batch.earlier_ratios.items()},
    }


def _pair(one: float, other: float) -> list[float]:
    return [_rounded(one), _rounded(other)]


def _rounded(number: float) -> float:
    return min(MAX_NUMBER, float(f"{number:.{_DIGITS}g}"))
