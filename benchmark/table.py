"""One table, for a terminal or for Markdown."""

from dataclasses import dataclass


def number(value: float | None) -> str:
    """Return a figure in as many digits as matter; a dash stands for none.

    >>> [number(value) for value in (None, 0, 0.0004, 0.034, 2.345, 43.21, 249.2, 17850.5)]
    ['–', '0', '0.0004', '0.034', '2.35', '43.2', '249', '17,850']
    """  # noqa: RUF002 - a dash in the right width
    if value is None:
        return "–"  # noqa: RUF001 - the same
    if value == 0:
        return "0"
    size = abs(value)
    digits = next(
        (digits for limit, digits in ((100, 0), (10, 1), (0.1, 2), (0.01, 3)) if size >= limit), 4
    )
    return f"{value:,.{digits}f}"


@dataclass(frozen=True, slots=True)
class Table:
    """A title, a header and rows of text; the first column is the only one that is no figure."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the table without its title, as Markdown."""
        rule = ("---", *("---:" for _ in self.header[1:]))
        return "\n".join(f"| {' | '.join(row)} |" for row in (self.header, rule, *self.rows))

    def text(self) -> str:
        """Return the table for a terminal."""
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])],
            ).rstrip()
            for row in (self.header, *self.rows)
        ]
        return "\n".join([self.title, "-" * len(self.title), *lines])
