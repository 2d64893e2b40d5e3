"""What the page costs whoever looks at it: time to the first paint, and bytes."""

import statistics
from dataclasses import dataclass
from typing import Final

from playwright.sync_api import Browser, sync_playwright

from simulator.worlds.browser import ARGUMENTS, CHROMIUM, serving_page
from simulator.worlds.day import simulate_day

RUNS: Final = 15

_FIRST_PAINT: Final = """
() => new Promise((tell) => new PerformanceObserver((list) => {
  for (const entry of list.getEntriesByName("first-contentful-paint")) tell(entry.startTime);
}).observe({ type: "paint", buffered: true }))
"""
_BYTES: Final = """
() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .reduce((sum, entry) => sum + entry.encodedBodySize, 0)
"""


@dataclass(frozen=True, slots=True)
class PageCost:
    """What was measured, each time with nothing remembered from the time before.

    Attributes:
        first_paints: milliseconds from the request to the first text on the screen, each run's.
        size: bytes of the page and all that it loads, as they are sent.
    """

    first_paints: tuple[float, ...]
    size: int

    @property
    def median(self) -> float:
        """The usual time to the first paint."""
        return statistics.median(self.first_paints)

    @property
    def longest(self) -> float:
        """The longest time to the first paint."""
        return max(self.first_paints)


def measure() -> PageCost:
    """Look at the page after a busy day, again and again, on this machine."""
    day = simulate_day()
    with serving_page(day.status, day.now) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS])
        # Chromium's own start is none of the page's business.
        _look(browser, url)
        looks = [_look(browser, url) for _ in range(RUNS)]
        browser.close()
    return PageCost(tuple(paint for paint, _ in looks), max(size for _, size in looks))


def _look(browser: Browser, url: str) -> tuple[float, int]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(url, wait_until="networkidle")
    paint: float = page.evaluate(_FIRST_PAINT)
    size: int = page.evaluate(_BYTES)
    context.close()
    return paint, size


if __name__ == "__main__":
    cost = measure()
    print(
        f"First paint: {cost.median:.0f} ms in the median, {cost.longest:.0f} ms at most, of "
        f"{len(cost.first_paints)}; {cost.size / 1000:.1f} kB in all"
    )
