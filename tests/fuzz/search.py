"""Searches for bytes that a target cannot bear. Run by script/fuzz, where atheris is installed.

The environment's TARGET is the target's name: libFuzzer, whose the arguments are, starts this again
with those alone.
"""

import os
import shlex
import sys
from importlib import import_module


def main() -> None:
    """Search until libFuzzer's limits are reached or something is found."""
    # atheris is nowhere but in script/fuzz's own virtualenv.
    atheris = import_module("atheris")
    with atheris.instrument_imports(
        include=["immich_job_daemon", "voluptuous", "tempora", "json", "urllib"]
    ):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - only so it is instrumented
    # It does so through a shell.
    this = shlex.join([sys.executable, __file__])
    atheris.Setup([this, *sys.argv[1:]], TARGETS[os.environ["TARGET"]])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
