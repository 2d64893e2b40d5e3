"""What the page loads besides: its style, its script and its icon, under names that tell a version.

A file's address holds the hash of its content. So a browser keeps it for good, and a page from
before an update never meets a file from after it.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, read once.

    Attributes:
        path: its address below the page's.
        type: its media type.
        content: its bytes.
    """

    path: str
    type: str
    content: bytes


def read_files() -> dict[str, StaticFile]:
    """Return every file by its name."""
    folder = Path(__file__).with_name("static")
    found = {}
    for file in sorted(folder.iterdir()):
        content = _lean(file.read_text(encoding="utf-8"), file.suffix).encode()
        path = f"static/{sha256(content).hexdigest()[:12]}/{file.name}"
        found[file.name] = StaticFile(path, TYPES[file.suffix], content)
    return found


def _lean(text: str, suffix: str) -> str:
    r"""Return a text without what only its reader needs: indentation, and lines of comment.

    >>> _lean("// why \n if (a) {\n  b; \n }", ".js").splitlines()
    ['if (a) {', 'b;', '}']
    >>> _lean("/* why */\na {\n  b: c;\n}\n", ".css")
    'a{b:c;}'
    """
    lines = (line.strip() for line in text.splitlines())
    lean = "\n".join(line for line in lines if line and not _is_comment(line))
    if suffix == ".css":
        lean = re.sub(r"\s*([{};])\s*", r"\1", lean).replace(": ", ":")
    return lean


def _is_comment(line: str) -> bool:
    return line.startswith("//") or (line.startswith("/*") and line.endswith("*/"))
