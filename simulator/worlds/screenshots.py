"""Photographs the page for the documents, after a day that the real daemon has lived through.

Run by script/screenshots. Each picture is what Chromium shows at once, without scrolling.
"""

from io import BytesIO
from pathlib import Path
from typing import Final, Literal

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from simulator.worlds.browser import ARGUMENTS, CHROMIUM, showing
from simulator.worlds.day import Day, live

FOLDER: Final = Path(__file__).parents[2] / "docs" / "images"
HEIGHTS: Final = {360: 780, 1920: 1280}
"""How high the window is, by its width: a phone, and what there is to see on a desk."""
COLOURS: Final = 256
"""Enough for text and flat areas; a picture takes a third of what it would with all colours."""

Scheme = Literal["light", "dark"]
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")


def photograph(browser: Browser, url: str, day: Day, width: int, scheme: Scheme) -> Path:
    """Take one picture and return where it is."""
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
    shot = Image.open(BytesIO(page.screenshot())).convert("RGB")
    context.close()
    path = FOLDER / f"page-{scheme}-{width}.png"
    few = shot.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    return path


def main() -> None:
    """Take all of them."""
    day = live()
    with showing(day.status, day.now) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS])
        for width in HEIGHTS:
            for scheme in SCHEMES:
                path = photograph(browser, url, day, width, scheme)
                print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()
