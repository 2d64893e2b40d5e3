"""What the page loads besides: its style, its script and its icon, under names that tell a version.

A file's address holds the hash of its content. So a browser keeps it for good, and a page from
before an update never meets a file from after it.
"""

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
        content = file.read_bytes()
        path = f"static/{sha256(content).hexdigest()[:12]}/{file.name}"
        found[file.name] = StaticFile(path, TYPES[file.suffix], content)
    return found
