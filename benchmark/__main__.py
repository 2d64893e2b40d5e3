"""Measures everything, says it, and writes the page; exit code 1 if anything is not as expected."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmark import measure, page, page_cost, plot, process, report
from benchmark.expected import expectations

PAGE: Final = Path(__file__).parent.parent / "docs" / "benchmark.md"
IMAGE: Final = "images/benchmark.svg"
"""The plot's path from the page."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say (default: the process's) and return the exit code."""
    given = _parser().parse_args(arguments)
    results = measure.measure_all(measure.QUICK if given.quick else measure.FULL, _tell)
    cost = None
    if not given.virtual and process.is_possible():
        _tell("The cost of the process")
        cost = process.measure(process.QUICK if given.quick else process.FULL)
        _tell("The cost of the page")
        cost = replace(cost, page=page_cost.measure())
    found = expectations(results, cost)
    verdict = report.verdict(found)
    for table in (*report.tables(results, cost), verdict):
        print(f"{table.text()}\n")
    if cost is None:
        print("The cost of the process was not measured.")
    is_whole = cost is not None and not given.quick
    output: Path | None = given.output or (PAGE if is_whole else None)
    if output is not None:
        today = datetime.now(UTC).date()
        plot.draw(results, output.parent / IMAGE)
        output.write_text(page.page(results, cost, found, IMAGE, today), encoding="utf-8")
        print(f"Written: {output} and {output.parent / IMAGE}")
    missed = [one for one in found if not one.is_met]
    print(f"{len(found) - len(missed)} of {len(found)} as expected.")
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="script/benchmark",
        description="What the daemon is worth beside the plain algorithm, the ideal and Immich "
        "alone; writes docs/benchmark.md.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a small one, in under a minute, that writes nothing"
    )
    parser.add_argument(
        "--virtual",
        action="store_true",
        help="without the cost of the process: nothing in real time; writes nothing",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the page here, the plot beside it"
    )
    return parser


def _tell(text: str) -> None:
    print(f"{text} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
