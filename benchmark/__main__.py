"""Run the benchmark and write docs/benchmark.md. Exit code 1 if an expectation is not met."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmark import page, process_cost, report, results
from benchmark.results import expectations

PAGE: Final = Path(__file__).parent.parent / "docs" / "benchmark.md"
IMAGE: Final = "images/benchmark.svg"
"""Path of the plot relative to the page."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark with these arguments (default: the command line's)."""
    options = _parser().parse_args(arguments)
    measured = results.measure_all(
        results.QUICK if options.quick else results.FULL, _print_progress
    )
    cost = None
    if not options.virtual and process_cost.is_supported():
        _print_progress("The cost of the process")
        cost = process_cost.measure(process_cost.QUICK if options.quick else process_cost.FULL)
        _print_progress("The cost of the page")
        cost = replace(cost, page=process_cost.measure_page())
    found = expectations(measured, cost)
    for table in (*report.tables(measured, cost), report.verdict(found)):
        print(f"{table.text()}\n")
    if cost is None:
        print("The cost of the process was not measured.")
    is_complete = cost is not None and not options.quick
    output: Path | None = options.output or (PAGE if is_complete else None)
    if output is not None:
        today = datetime.now(UTC).date()
        page.draw_plot(measured, output.parent / IMAGE)
        output.write_text(page.page(measured, cost, found, IMAGE, today), encoding="utf-8")
        print(f"Wrote {output} and {output.parent / IMAGE}.")
    missed = [one for one in found if not one.is_met]
    print(f"{len(found) - len(missed)} of {len(found)} expectations are met.")
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="script/benchmark",
        description="Compare the daemon with a plain shell daemon, with the ideal and with Immich "
        "alone, and write docs/benchmark.md.",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="small workloads, in under a minute; the page is not written",
    )
    parser.add_argument(
        "--virtual",
        action="store_true",
        help="measure in virtual time only, not the process; the page is not written",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the page to FILE, and the plot below its folder",
    )
    return parser


def _print_progress(text: str) -> None:
    print(f"{text} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
