"""Packages with tools, really installed: a module and its dist-info in a folder of the path, as an installer leaves them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from agents.tools.plugins import third_party

DOCUMENTATION = Path(__file__).resolve().parents[1] / "docs" / "tools.md"


def documented(language: str) -> str:
    """The first block of that language in the documentation of tools."""
    found = re.search(rf"^```{language}\n(.*?)^```$", DOCUMENTATION.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def documented_entry() -> str:
    """The entry point of the documentation, such as "word_count = acme_tools:WordCount"."""
    name, value = documented("toml").strip().splitlines()[-1].split(" = ")
    return f"{name} = {value.strip('"')}"


class Packages:
    """Installs packages into a folder; the tools of the process are looked for anew after each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._modules: list[str] = []

    def install(self, name: str, source: str, *entries: str, version: str = "1.2") -> None:
        """A package of one module; entries are "name = module:object" of the group chiffon.tools."""
        module = name.replace("-", "_")
        (self._folder / f"{module}.py").write_text(source)
        information = self._folder / f"{module}-{version}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (information / "entry_points.txt").write_text("[chiffon.tools]\n" + "\n".join(entries) + "\n")
        self._modules.append(module)
        third_party.cache_clear()

    def install_documented(self) -> None:
        """The package that the documentation shows."""
        self.install("acme-tools", documented("python"), documented_entry())

    def remove(self) -> None:
        """Forget all of them."""
        for module in self._modules:
            sys.modules.pop(module, None)
        third_party.cache_clear()
