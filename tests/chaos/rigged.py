"""An installation from an environment of its own: with tools whose effects can be counted, and with crash points."""

from __future__ import annotations

import sysconfig
import time
import venv
from collections import defaultdict, deque
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.processes import Installation

_PACKAGES = {"chiffon_effects": "effects.py", "chiffon_crash_points": "crash_points.py"}
_MINUTE, _FEW_DEATHS = 61.0, 4  # the keeper gives up when a program dies five times within a minute
_ENTRIES = "[chiffon.tools]\nonce = chiffon_effects:Once\nagain = chiffon_effects:Again\n"


class Trace(NamedTuple):
    """One effect, and the try that had it."""

    key: str
    tool: str
    number: int
    token: int


class RiggedHouse(Installation):
    """One that counts effects, and whose programs die where an order says."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "data", python=_python(folder / "python"), CHIFFON_CRASH_AT=str(folder))
        self.effects, self.orders, self.crossings = folder / "effects", folder / "orders", folder / "crossed"
        self.effects.touch()
        self._deaths = defaultdict[str, deque[float]](partial(deque, maxlen=_FEW_DEATHS))

    def kill(self, name: str) -> int:
        """Kill a program without a word, as soon as the keeper bears it; its process id."""
        time.sleep(self.rest(name))
        self.died(name)
        return super().kill(name)

    def died(self, name: str) -> None:
        """Note that a program was made to die."""
        self._deaths[name].append(time.monotonic())

    def rest(self, name: str, more: int = 1) -> float:
        """Seconds until so many more deaths of this program do not make the keeper give up."""
        deaths = self._deaths[name]
        too_many = len(deaths) + more - _FEW_DEATHS
        return max(0.0, deaths[too_many - 1] + _MINUTE - time.monotonic()) if too_many > 0 else 0.0

    def traces(self, plan_id: str) -> list[Trace]:
        """Every effect that a plan had, in the order in which it had them."""
        rows = (line.split() for line in self.effects.read_text().splitlines())
        return [
            Trace(key, tool, int(number), int(token)) for pk, key, tool, number, token in rows if pk == str(plan_id)
        ]


def _python(folder: Path) -> str:
    """The Python of an environment that has everything of this one and our packages too."""
    venv.create(folder, symlinks=True)
    ours = Path(sysconfig.get_path("purelib"))
    (site,) = folder.glob("lib/python*/site-packages")
    for name, file in _PACKAGES.items():
        (site / f"{name}.py").write_text(Path(__file__).with_name(file).read_text(encoding="utf-8"))
    (site / "ours.pth").write_text(f"import site; site.addsitedir({str(ours)!r})\nimport chiffon_crash_points\n")
    for program in Path(sysconfig.get_path("scripts")).iterdir():
        if not (folder / "bin" / program.name).exists():
            (folder / "bin" / program.name).symlink_to(program)
    information = site / "chiffon_effects-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: chiffon-effects\nVersion: 1\n")
    (information / "entry_points.txt").write_text(_ENTRIES)
    return str(folder / "bin" / "python")
