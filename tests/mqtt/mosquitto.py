"""A real broker: Debian's mosquitto on a local port, with user names and passwords."""

import getpass
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from immich_job_daemon.base.redaction import Secret
from immich_job_daemon.model.settings import Broker
from simulator.immich.ports import free_port
from tests.support.programs import ServerProcess, find_program

USER: Final = "ha"
PASSWORD: Final = "secret-of-the-broker"
RESTRICTED_USER: Final = "restricted"
"""A user without permissions for the daemon's topics."""


class Mosquitto(ServerProcess):
    """The broker, as a context manager. It stores nothing on disk.

    Args:
        folder: the folder for its files.
        certificate: the server's certificate, with its key beside it; enables TLS.
        port: the TCP port; None: any free one.
    """

    def __init__(
        self, folder: Path, *, certificate: Path | None = None, port: int | None = None
    ) -> None:
        super().__init__(folder / "log.txt")
        self.port = port or free_port()
        users = folder / "users"
        users.touch(mode=0o600)
        for user in (USER, RESTRICTED_USER):
            command = [find_program("mosquitto_passwd"), "-b", str(users), user, PASSWORD]
            subprocess.run(command, check=True, capture_output=True)
        acl = folder / "acl"
        acl.write_text(
            f"user {USER}\ntopic readwrite #\n\nuser {RESTRICTED_USER}\ntopic read other/#\n"
        )
        acl.chmod(0o600)
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"user {getpass.getuser()}",
            "allow_anonymous false",
            f"password_file {users}",
            f"acl_file {acl}",
            "persistence false",
        ]
        if certificate:
            lines += [f"certfile {certificate}", f"keyfile {certificate.with_suffix('.key')}"]
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text("\n".join([*lines, ""]))

    @property
    def url(self) -> str:
        """The value for MQTT_URL."""
        return f"mqtt://{USER}:{PASSWORD}@127.0.0.1:{self.port}"

    @property
    def broker(self) -> Broker:
        """The same as a Broker."""
        return Broker("127.0.0.1", self.port, USER, Secret(PASSWORD))

    def command(self) -> list[str]:
        """Return the command that starts the broker."""
        return [find_program("mosquitto"), "-c", str(self._configuration)]

    def is_ready(self) -> bool:
        """Whether the broker accepts connections."""
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True
        return False


@contextmanager
def mosquitto(folder: Path) -> Iterator[Mosquitto]:
    """Yield a running broker."""
    folder.mkdir(exist_ok=True)
    with Mosquitto(folder) as broker:
        yield broker
