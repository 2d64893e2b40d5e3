"""The page's style sheet, script and icon, under URLs that contain a hash of their content.

So browsers cache them for good, and a page from before an update never loads a file from after it.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

MEDIA_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file, minified; ``path`` is its URL path relative to the page.

    ``media_type`` has no charset.
    """

    path: str
    media_type: str
    content: bytes


def load_assets() -> dict[str, Asset]:
    """Read and minify all static files; return them by file name."""
    folder = Path(__file__).with_name("static")
    assets = {}
    for file in sorted(folder.iterdir()):
        content = _minified(file.read_text(encoding="utf-8"), file.suffix).encode()
        path = f"static/{sha256(content).hexdigest()[:12]}/{file.name}"
        assets[file.name] = Asset(path, MEDIA_TYPES[file.suffix], content)
    return assets


def _minified(text: str, suffix: str) -> str:
    r"""Remove indentation, blank lines and comments that fill a line.

    >>> _minified("// why \n if (a) {\n  b; \n }", ".js").splitlines()
    ['if (a) {', 'b;', '}']
    >>> _minified("/* why */\na {\n  b: c;\n}\n", ".css")
    'a{b:c;}'
    """
    lines = (line.strip() for line in text.splitlines())
    minified = "\n".join(line for line in lines if line and not _is_comment(line))
    if suffix == ".css":
        minified = re.sub(r"\s*([{};])\s*", r"\1", minified).replace(": ", ":")
    return minified


def _is_comment(line: str) -> bool:
    return line.startswith("//") or (line.startswith("/*") and line.endswith("*/"))
