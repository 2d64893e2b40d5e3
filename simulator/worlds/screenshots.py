"""Takes the screenshots in the documentation: the page after a simulated day of the real daemon.

Run by script/screenshots. Each screenshot shows what fits in the window, without scrolling.
"""

from io import BytesIO
from pathlib import Path
from typing import Final, Literal

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from simulator.worlds.browser import ARGUMENTS, CHROMIUM, serving_page
from simulator.worlds.day import Day, simulate_day

FOLDER: Final = Path(__file__).parents[2] / "docs" / "images"
HEIGHTS: Final = {360: 780, 1920: 1280}
"""The height of the window by its width: a phone and a desktop."""
COLOURS: Final = 256
"""Enough for text and flat areas; the file has a third of the size that it has with all colours."""

Scheme = Literal["light", "dark"]
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")


def take_screenshot(browser: Browser, url: str, day: Day, width: int, scheme: Scheme) -> Path:
    """Take one screenshot and return the path of its file."""
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHTS[width]},
        color_scheme=scheme,
        locale="en-GB",
        timezone_id="Europe/Berlin",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.clock.set_fixed_time(day.time)
    page.goto(url)
    page.wait_for_load_state("networkidle")
    screenshot = Image.open(BytesIO(page.screenshot())).convert("RGB")
    context.close()
    path = FOLDER / f"page-{scheme}-{width}.png"
    small = screenshot.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    return path


def main() -> None:
    """Take all screenshots."""
    day = simulate_day()
    with serving_page(day.status, day.now) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS])
        for width in HEIGHTS:
            for scheme in SCHEMES:
                path = take_screenshot(browser, url, day, width, scheme)
                print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()
