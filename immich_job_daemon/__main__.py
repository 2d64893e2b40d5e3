"""``python3 -m immich_job_daemon``: see ``cli``."""

import sys

from immich_job_daemon.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
