"""What was measured, as JSON: the part of the ledger that is only there to be quick to tell."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, TypeVar

import voluptuous as vol

from immich_job_daemon.forecast.pipeline import Batch, Seen, Span
from immich_job_daemon.forecast.rates import MOST_BESIDE, Rate, Rates
from immich_job_daemon.model.queue import MAX_QUEUES, is_queue_name

MOST_OF_A_QUEUE: Final = 16
"""Batches of a queue, and queues that they lead to."""
LARGEST: Final = 1e9
_DIGITS: Final = 6

_Key = TypeVar("_Key")


def _name(value: object) -> str:
    if is_queue_name(value):
        return str(value)
    raise vol.Invalid("is no name of a queue")


def _number(value: object) -> float:
    # To Python True is a 1.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LARGEST:
        return float(value)
    raise vol.Invalid("is no number from 0 on")


def _others(value: object) -> int:
    # The name of a field in JSON is a text.
    if value in {str(number) for number in range(MOST_BESIDE + 1)}:
        return int(str(value))
    raise vol.Invalid("is no number of other queues")


def _positive(value: object) -> float:
    number = _number(value)
    if number > 0:
        return number
    raise vol.Invalid("is no time")


def _rate(value: object) -> Rate:
    rate = Rate(*_PAIR(value))
    if rate.jobs > 0 and rate.seconds > 0:
        return rate
    raise vol.Invalid("is no rate")


def _span(value: object) -> Span:
    span = Span(*_PAIR(value))
    if span.low <= span.high:
        return span
    raise vol.Invalid("ends before it begins")


def _few(most: int, items: Mapping[Any, Any]) -> vol.All:
    return vol.All(dict, vol.Length(max=most), items)


_PAIR: Final = vol.Schema(vol.ExactSequence([_number, _number]))
_BATCH: Final = vol.Schema(
    {
        vol.Optional("left", default=0): _number,
        vol.Optional("seen", default=dict): _few(
            MOST_OF_A_QUEUE, {_name: lambda value: Seen(*_PAIR(value))}
        ),
        vol.Optional("usual", default=dict): _few(MOST_OF_A_QUEUE, {_name: _span}),
    }
)
_SCHEMA: Final = vol.Schema(
    {
        vol.Optional("queues", default=dict): _few(MAX_QUEUES, {_name: _rate}),
        vol.Optional("beside", default=dict): _few(
            MAX_QUEUES, {_name: _few(MOST_BESIDE + 1, {_others: _rate})}
        ),
        vol.Optional("at_most", default=dict): _few(MAX_QUEUES, {_name: _positive}),
        vol.Optional("batches", default=dict): _few(
            MAX_QUEUES,
            {_name: _few(MOST_OF_A_QUEUE, {_name: lambda value: Batch(**_BATCH(value))})},
        ),
    }
)


def to_json(rates: Rates) -> dict[str, Any]:
    """Return what of the rates survives, for ``json.dumps``.

    >>> to_json(Rates({"ocr": Rate(20, 10)}))["queues"]
    {'ocr': [20.0, 10.0]}
    """
    return {
        "queues": _rates(rates.queues),
        "beside": {
            name: {str(others): rate for others, rate in _rates(beside).items()}
            for name, beside in islice(rates.beside.items(), MAX_QUEUES)
        },
        "at_most": {
            name: _short(seconds) for name, seconds in islice(rates.at_most.items(), MAX_QUEUES)
        },
        "batches": {
            name: {way: _batch(batch) for way, batch in batches.items()}
            for name, batches in islice(rates.batches.items(), MAX_QUEUES)
        },
    }


def from_json(found: object) -> Rates:
    """Return the rates that ``to_json`` made this of; the last look is not among it.

    Raises:
        ValueError: nothing of the kind made this.
    """
    try:
        return Rates(**_SCHEMA(found))
    except vol.Invalid as error:
        raise ValueError(f"these are no rates: {error}") from error


def _rates(rates: Mapping[_Key, Rate]) -> dict[_Key, list[float]]:
    measured = ((name, rate) for name, rate in rates.items() if rate.jobs > 0 and rate.seconds > 0)
    return {name: _pair(rate.jobs, rate.seconds) for name, rate in islice(measured, MAX_QUEUES)}


def _batch(batch: Batch) -> dict[str, Any]:
    return {
        "left": _short(batch.left),
        "seen": {target: _pair(*seen) for target, seen in batch.seen.items()},
        "usual": {target: _pair(*usual) for target, usual in batch.usual.items()},
    }


def _pair(one: float, other: float) -> list[float]:
    return [_short(one), _short(other)]


def _short(number: float) -> float:
    return min(LARGEST, float(f"{number:.{_DIGITS}g}"))
