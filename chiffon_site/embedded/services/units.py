"""Unit files: what the manager may run, read from text and refused when in doubt. Nothing here touches a process."""

import configparser
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

NAME_PATTERN: Final = re.compile(r"[a-z][a-z0-9-]{0,47}")
LARGEST_UNIT_BYTES: Final = 16 * 1024
RESTART_CHOICES: Final = ("always", "on-failure", "no")
KNOWN_KEYS: Final = {
    "Unit": {"Description"},
    "Service": {"ExecStart", "WorkingDirectory", "Environment", "Port", "Restart"},
    "Install": {"Enabled"},
}
RESERVED_ENVIRONMENT: Final = frozenset(
    {"PORT", "PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONSTARTUP", "PYTHONHOME"}
)

Restart = Literal["always", "on-failure", "no"]


class UnitError(Exception):
    """A request that the manager refuses; its text is one sentence for a person, its code is for programs."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True)
class Unit:
    """One service as its unit file describes it; `port` is None for no port and 0 for "pick a free one"."""

    name: str
    description: str
    script: Path
    arguments: tuple[str, ...]
    working_directory: Path
    environment: tuple[tuple[str, str], ...]
    port: int | None
    restart: Restart
    enabled: bool


def check_name(name: object) -> str:
    """The name, if it can be a unit's; raises UnitError `bad_name` otherwise, so that no name ever becomes a path."""
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        raise UnitError("bad_name", "A unit's name is 1 to 48 of a-z, 0-9 and -, starting with a letter.")
    return name


def read_unit(root: Path, name: object) -> Unit:
    """Read `units/<name>.service` below `root`; raises UnitError when it is absent, unreadable or not allowed."""
    name = check_name(name)
    path = root / "units" / f"{name}.service"
    if path.is_symlink():
        raise UnitError("bad_unit", f"Unit {name} is a symbolic link; units are plain files in units/.")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UnitError("unknown_unit", f"There is no unit {name}: units/{name}.service does not exist.") from None
    except OSError as problem:
        raise UnitError("bad_unit", f"Unit {name} cannot be read: {problem.strerror}.") from problem
    if len(data) > LARGEST_UNIT_BYTES:
        raise UnitError("bad_unit", f"Unit {name} is larger than {LARGEST_UNIT_BYTES} bytes.")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise UnitError("bad_unit", f"Unit {name} is not UTF-8 text.") from None
    return parse_unit(name, text, root)


def parse_unit(name: str, text: str, root: Path) -> Unit:
    """Turn a unit file's text into a Unit; raises UnitError `bad_unit` with the reason."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # keys keep their case, as systemd's do
    try:
        parser.read_string(text)
    except configparser.Error as problem:
        raise _bad(name, f"is not a unit file: {str(problem).splitlines()[0]}") from None
    for section in parser.sections():
        if section not in KNOWN_KEYS:
            raise _bad(name, f"has an unknown section [{section}]; known are {', '.join(KNOWN_KEYS)}")
        if unknown := sorted(set(parser[section]) - KNOWN_KEYS[section]):
            raise _bad(name, f"has an unknown key {unknown[0]} in [{section}]")
    service = dict(parser["Service"]) if parser.has_section("Service") else {}
    script, arguments = _command(name, service.get("ExecStart", ""), root)
    restart = service.get("Restart", "always")
    if restart not in RESTART_CHOICES:
        raise _bad(name, f"has Restart={restart}; it is one of {', '.join(RESTART_CHOICES)}")
    return Unit(
        name=name,
        description=parser.get("Unit", "Description", fallback=name),
        script=script,
        arguments=arguments,
        working_directory=_inside(name, service.get("WorkingDirectory", str(script.parent)), root, "WorkingDirectory"),
        environment=_environment(name, service.get("Environment", "")),
        port=_port(name, service.get("Port", "none")),
        restart=cast("Restart", restart),
        enabled=_flag(name, parser.get("Install", "Enabled", fallback="yes")),
    )


def _bad(name: str, reason: str) -> UnitError:
    return UnitError("bad_unit", f"Unit {name} {reason}.")


def _words(name: str, key: str, value: str) -> list[str]:
    try:
        words = shlex.split(value)
    except ValueError as problem:
        raise _bad(name, f"has a {key} that cannot be split into words: {problem}") from None
    if any("\0" in word for word in words):
        raise _bad(name, f"has a {key} with a NUL character")
    return words


def _command(name: str, value: str, root: Path) -> tuple[Path, tuple[str, ...]]:
    words = _words(name, "ExecStart", value)
    rule = "ExecStart is `python3 SCRIPT ARGUMENTS`, with SCRIPT a file inside the sandbox"
    if len(words) < 2 or words[0] != "python3" or words[1].startswith("-"):
        raise _bad(name, f"may not be started: {rule}")
    return _inside(name, words[1], root, "ExecStart"), tuple(words[2:])


def _inside(name: str, value: str, root: Path, key: str) -> Path:
    if "\0" in value:
        raise _bad(name, f"has a {key} with a NUL character")
    path = Path(value)
    if not path.is_absolute() or not path.resolve().is_relative_to(root.resolve()):
        raise _bad(name, f"has a {key} outside the sandbox; it must be an absolute path inside {root}")
    return path.resolve()


def _environment(name: str, value: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for word in _words(name, "Environment", value):
        key, equals, content = word.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
            raise _bad(name, "has an Environment that is not NAME=value NAME=value")
        if key in RESERVED_ENVIRONMENT:
            raise _bad(name, f"may not set {key} in its Environment")
        pairs.append((key, content))
    return tuple(pairs)


def _port(name: str, value: str) -> int | None:
    if value == "none":
        return None
    if value == "auto":
        return 0
    if value.isascii() and value.isdigit() and len(value) <= 5 and (value == "0" or 1024 <= int(value) <= 65535):
        return int(value)
    raise _bad(name, f"has Port={value[:40]}; it is auto, none or a number from 1024 to 65535")


def _flag(name: str, value: str) -> bool:
    if value not in {"yes", "no"}:
        raise _bad(name, "has an Enabled that is neither yes nor no")
    return value == "yes"
