"""Fuzz a target with atheris. Run by script/fuzz, whose virtualenv has atheris.

The environment variable TARGET is the name of the target, because the arguments are libFuzzer's,
which also uses them to start this program again.
"""

import os
import shlex
import sys
from importlib import import_module


def main() -> None:
    """Fuzz until a limit of libFuzzer is reached or a failure is found."""
    # atheris is installed only in the virtualenv of script/fuzz.
    atheris = import_module("atheris")
    with atheris.instrument_imports(
        include=["immich_job_daemon", "voluptuous", "tempora", "json", "urllib"]
    ):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - must be instrumented
    # libFuzzer starts it again through a shell.
    command = shlex.join([sys.executable, __file__])
    atheris.Setup([command, *sys.argv[1:]], TARGETS[os.environ["TARGET"]])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
