"""What the manager remembers between two starts: which units are wanted, and their ports."""

import contextlib
import json
import os
import random
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

# Below the range that the kernel hands to outgoing connections, so that a remembered port stays free.
PORT_RANGE: Final = range(20_000, 30_000)


@dataclass(slots=True)
class Memory:
    """One unit's memory."""

    port: int | None = None
    wanted: bool = False


class MemoryFile:
    """`state.json`, replaced as a whole at each change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.units: dict[str, Memory] = {}
        self.problem = ""
        self._read()

    def of(self, name: str) -> Memory:
        """The unit's memory, made when it has none."""
        return self.units.setdefault(name, Memory())

    def save(self) -> None:
        """Write everything; raises OSError."""
        text = json.dumps({"v": 1, "units": {name: asdict(memory) for name, memory in sorted(self.units.items())}})
        temporary = self.path.with_suffix(".new")
        temporary.write_text(text)
        temporary.replace(self.path)

    def _read(self) -> None:
        try:
            content = json.loads(self.path.read_text())
            for name, memory in content["units"].items():
                self.units[name] = Memory(port=_checked_port(memory["port"]), wanted=memory["wanted"] is True)
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.units = {}
            kept = self.path.with_suffix(".broken")
            with contextlib.suppress(OSError):
                self.path.replace(kept)
            self.problem = f"{self.path.name} was not readable; it was moved to {kept.name} and no unit is remembered."


def is_free(port: int) -> bool:
    """Whether the loopback port can be listened on right now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def pick_free() -> int:
    """A free loopback port; raises OSError when a hundred tries find none."""
    # Chosen to avoid collisions, not to keep a secret.
    for port in random.sample(PORT_RANGE, 100):
        if is_free(port):
            return port
    raise OSError(os.strerror(98))


def _checked_port(value: object) -> int | None:
    return value if isinstance(value, int) and 1024 <= value <= 65535 else None
