"""A real Home Assistant Core as a process of its own, and what it says over its API."""

import json
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import requests

from simulator.immich.ports import free_port
from tests.mqtt.mosquitto import PASSWORD, USER, Mosquitto
from tests.support import waiting

wait_until: Final = partial(waiting.wait_until, timeout=120.0, interval=0.2)
"""Poll Home Assistant less often: it is slow, and each poll is an HTTP request."""

STARTS_WITHIN: Final = 900.0
"""Seconds for a first start, in which it installs what its own parts need."""

ANSWERS_WITHIN: Final = 60.0

CONFIGURATION: Final = """\
homeassistant:
  name: Test
  latitude: 50
  longitude: 8
  elevation: 100
  unit_system: metric
  time_zone: UTC
http:
  server_host: 127.0.0.1
  server_port: {port}
api:
config:
automation: !include automations.yaml
notify:
logger:
  default: warning
"""


class Core:
    """Home Assistant Core, as a context manager.

    Args:
        inside: runs a command where Home Assistant is installed.
        folder: for its configuration; the same path there.
    """

    def __init__(self, inside: Path, folder: Path) -> None:
        self._inside = inside
        self._folder = folder
        self._port = free_port()
        self._session = requests.Session()
        self._session.trust_env = False
        self._token = ""
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        (folder / "automations.yaml").write_text("[]\n")
        configuration = CONFIGURATION.format(port=self._port)
        (folder / "configuration.yaml").write_text(configuration)

    def __enter__(self) -> Self:
        self.start()
        self._onboard()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """What it has written: warnings and errors."""
        return (self._folder / "log.txt").read_text(errors="replace")

    def start(self) -> None:
        """Start it, and return when it has started."""
        with (self._folder / "log.txt").open("ab") as log:
            command = [str(self._inside), "hass", "-c", str(self._folder)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._answers, "Home Assistant answers", timeout=STARTS_WITHIN)
        if self._token:
            wait_until(lambda: self.get("config")["state"] == "RUNNING", "Home Assistant runs")

    def stop(self) -> None:
        """End it as its own user interface does, or at once where it cannot be asked."""
        if self._process is None:
            return
        with suppress(requests.RequestException):
            self.call("homeassistant.stop")
        try:
            self._process.wait(ANSWERS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Return what is at a path of its REST API."""
        answer = self._session.get(f"{self._url}/api/{path}", timeout=ANSWERS_WITHIN)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: Mapping[str, object]) -> Any:  # noqa: ANN401 - JSON
        """Send something to a path of its REST API, and return what it says."""
        answer = self._session.post(f"{self._url}/api/{path}", json=body, timeout=ANSWERS_WITHIN)
        answer.raise_for_status()
        return answer.json()

    def states(self) -> dict[str, dict[str, Any]]:
        """Return every entity's state and attributes, by its id."""
        return {one["entity_id"]: one for one in self.get("states")}

    def state(self, entity: str) -> str | None:
        """Return an entity's state, None if there is no such entity."""
        found = self.states().get(entity)
        return None if found is None else str(found["state"])

    def call(self, action: str, entity: str = "", **data: object) -> None:
        """Carry out an action, as a press or a choice in its user interface does."""
        target = {"entity_id": entity} if entity else {}
        self.post(f"services/{action.replace('.', '/')}", {**target, **data})

    def pretend(self, entity: str, state: str) -> None:
        """Set the state of an entity of some other device."""
        self.post(f"states/{entity}", {"state": state})

    def ask(self, **command: object) -> Any:  # noqa: ANN401 - JSON
        """Return what it answers to a command of its WebSocket API."""
        program = Path(__file__).with_name("websocket_command.py").read_text()
        arguments = [self._url, self._token, json.dumps(command)]
        asked = subprocess.run(
            [self._inside, "python", "-", *arguments],
            input=program,
            text=True,
            check=True,
            stdout=subprocess.PIPE,
        )
        return json.loads(asked.stdout)

    def automate(self, automations: str) -> None:
        """Have it run these automations, in YAML, and no others."""
        (self._folder / "automations.yaml").write_text(automations)
        self.call("automation.reload")

    def connect(self, broker: Mosquitto) -> None:
        """Set the MQTT integration up, through the form that a user fills in."""
        form = self.post("config/config_entries/flow", {"handler": "mqtt"})
        filled: dict[str, object] = {
            "broker": "127.0.0.1",
            "port": broker.port,
            "username": USER,
            "password": PASSWORD,
        }
        for field in form["data_schema"]:
            # Newer versions ask for more at once.
            if field["name"] == "protocol":
                filled["protocol"] = field["default"]
            if field["name"] == "other_settings":
                off = {"set_client_cert": False, "set_ca_cert": "off", "tls_insecure": False}
                filled["other_settings"] = {**off, "transport": "tcp"}
        done = self.post(f"config/config_entries/flow/{form['flow_id']}", filled)
        assert done["type"] == "create_entry", done

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        with suppress(requests.RequestException):
            self.get("onboarding" if not self._token else "config")
            return True
        return False

    def _onboard(self) -> None:
        """Do what its first page asks for."""
        me = f"{self._url}/"
        user = {"client_id": me, "name": "Test", "username": "test", "language": "en"}
        made = self.post("onboarding/users", {**user, "password": "of-nobody"})
        form = {"client_id": me, "grant_type": "authorization_code", "code": made["auth_code"]}
        answer = self._session.post(f"{self._url}/auth/token", data=form, timeout=ANSWERS_WITHIN)
        answer.raise_for_status()
        self._token = answer.json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {self._token}"
        for step in ("core_config", "analytics"):
            self.post(f"onboarding/{step}", {})
        self.post("onboarding/integration", {"client_id": me, "redirect_uri": me})
        wait_until(lambda: self.get("config")["state"] == "RUNNING", "Home Assistant runs")
