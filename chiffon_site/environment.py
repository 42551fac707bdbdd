"""The environment variables Chiffon reads: names, types, defaults, and one clear sentence when a value is wrong.

Pure: it imports no Django, so that the keeper can check everything before it starts a process. What the variables do not say is
read from `env.json` in the data folder, which `chiffon up` writes, so that commands run beside the folder find the same servers.
"""

import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

BASE_DIR: Final = Path(__file__).resolve().parent.parent
ENVIRONMENT_FILE: Final = "env.json"
SECRET_KEY_FILE: Final = "secret-key"  # noqa: S105 - a file's name
DEBUG_SECRET_KEY: Final = "chiffon-open-debug-key-never-for-production-0123456789"  # noqa: S105 - refused unless debugging
SHORTEST_SECRET_KEY: Final = 32
PROCESS_KINDS: Final = ("web", "dispatcher", "worker", "agent", "command")
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

HTTP: Final = ("http", "https")
POSTGRESQL: Final = ("postgres", "postgresql")
REDIS: Final = ("redis", "rediss")
BROKER: Final = (*REDIS, "amqp", "amqps")


class WrongEnvironment(ValueError):
    """A variable has a value it does not accept; the message names both."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Every variable, checked and typed."""

    data_dir: Path
    process: str
    port: int
    bind: str
    public_url: str
    allowed_hosts: tuple[str, ...]
    debug: bool
    secret_key: str
    log_level: str
    trust_proxy: bool
    database_url: str
    migrate_database_url: str
    redis_url: str
    broker_url: str
    pool_size: int
    playbook_repo: str
    llm_base_url: str
    llm_api_key: str
    llm_model: str
    llm_local_base_url: str
    llm_local_model: str
    otel_endpoint: str
    email_url: str
    from_email: str
    diagnostics: bool

    @property
    def is_https(self) -> bool:
        """Whether people reach Chiffon over TLS."""
        return self.public_url.startswith("https:")


class _Reader:
    """Reads single values and words every complaint the same way."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str, default: str = "") -> str:
        """Return the value without surrounding blanks; an empty one counts as absent."""
        return self._values.get(name, "").strip() or default

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a yes or no."""
        value = self.text(name).lower()
        if not value:
            return default
        if value in {"1", "true", "yes", "on"}:
            return True
        if value in {"0", "false", "no", "off"}:
            return False
        raise self._wrong(name, "true or false")

    def whole(self, name: str, default: int, *, lowest: int, highest: int) -> int:
        """Return a whole number between two bounds, both included."""
        value = self.text(name, str(default))
        if not re.fullmatch(r"[0-9]{1,9}", value) or not lowest <= int(value) <= highest:
            raise self._wrong(name, f"a whole number from {lowest} to {highest}")
        return int(value)

    def choice(self, name: str, default: str, among: tuple[str, ...]) -> str:
        """Return one of a few words."""
        value = self.text(name, default)
        if value not in among:
            raise self._wrong(name, "one of " + ", ".join(among))
        return value

    def url(self, name: str, schemes: tuple[str, ...], default: str = "", *, example: str) -> str:
        """Return an address with one of the schemes and a host, or an empty text."""
        value = self.text(name, default)
        if not value:
            return ""
        try:
            parts = urlsplit(value)
            fine = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            fine = False
        if not fine or re.search(r"[\s\x00-\x1f]", value):
            raise self._wrong(name, f"an address such as {example}", secret=True)
        return value

    def words(self, name: str) -> tuple[str, ...]:
        """Return a list that is written with commas."""
        return tuple(word.strip() for word in self.text(name).split(",") if word.strip())

    def checked(self, name: str, default: str, accepts: Callable[[str], bool], what: str) -> str:
        """Return the value if it passes the check."""
        value = self.text(name, default)
        if not accepts(value):
            raise self._wrong(name, what)
        return value

    def _wrong(self, name: str, accepts: str, *, secret: bool = False) -> WrongEnvironment:
        # An address may hold a password, and the sentence ends up in logs.
        shown = "a value" if secret else repr(self._values.get(name, ""))[:80]
        return WrongEnvironment(f"{name} has {shown} it cannot take: it accepts {accepts}.")


def data_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Return the absolute path of the data folder, which need not exist yet."""
    environ = os.environ if environ is None else environ
    value = environ.get("CHIFFON_DATA_DIR", "").strip()
    if "\x00" in value:
        raise WrongEnvironment("CHIFFON_DATA_DIR has a value it cannot take: it accepts the path of a folder.")
    return Path(value).expanduser().absolute() if value else BASE_DIR / ".chiffon"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_environment(environ: Mapping[str, str] | None = None) -> Environment:
    """Read and check every variable, and what the data folder remembers of those that are not set.

    Raises WrongEnvironment with one sentence that names the variable and what it accepts.
    """
    given = os.environ if environ is None else environ
    folder = data_dir(given)
    return _checked({**_remembered(folder), **{name: value for name, value in given.items() if value.strip()}}, folder)


def read_given(environ: Mapping[str, str]) -> Environment:
    """Read and check what is really set, as `chiffon up` has to: it decides anew what is embedded, and draws the secret key.

    Raises WrongEnvironment with one sentence that names the variable and what it accepts.
    """
    folder = data_dir(environ)
    drawn = secrets.token_urlsafe(SHORTEST_SECRET_KEY)
    known = {} if environ.get("CHIFFON_SECRET_KEY", "").strip() else {"CHIFFON_SECRET_KEY": drawn}
    return _checked({**environ, **known}, folder)


def _checked(values: Mapping[str, str], folder: Path) -> Environment:
    read = _Reader(values)
    bind = read.checked("CHIFFON_BIND", "127.0.0.1", _is_address, "an IP address or localhost")
    port = read.whole("CHIFFON_PORT", 8000, lowest=1, highest=65535)
    public_url = read.url(
        "CHIFFON_PUBLIC_URL", HTTP, f"http://127.0.0.1:{port}", example="https://chiffon.example.org"
    ).rstrip("/")
    debug = read.flag("CHIFFON_DEBUG", default=False)
    if debug and not (is_loopback(bind) and is_loopback(urlsplit(public_url).hostname or "")):
        raise WrongEnvironment(
            "CHIFFON_DEBUG is true although others can reach this address: it accepts true only where CHIFFON_BIND and "
            "CHIFFON_PUBLIC_URL are of this machine alone."
        )
    redis_url = read.url("REDIS_URL", REDIS, example="redis://:password@127.0.0.1:6379/0")
    return Environment(
        data_dir=folder,
        process=read.choice("CHIFFON_PROCESS", "command", PROCESS_KINDS),
        port=port,
        bind=bind,
        public_url=public_url,
        allowed_hosts=read.words("CHIFFON_ALLOWED_HOSTS") or _hosts(bind, public_url),
        debug=debug,
        secret_key=_secret_key(read, folder, debug=debug),
        log_level=read.choice("CHIFFON_LOG_LEVEL", "INFO", LOG_LEVELS),
        trust_proxy=read.flag("CHIFFON_TRUST_PROXY", default=False),
        database_url=read.url("DATABASE_URL", POSTGRESQL, example="postgres://user:password@127.0.0.1:5432/chiffon"),
        migrate_database_url=read.url(
            "CHIFFON_MIGRATE_DATABASE_URL", POSTGRESQL, example="postgres://owner:password@127.0.0.1:5432/chiffon"
        ),
        redis_url=redis_url,
        broker_url=read.url(
            "CELERY_BROKER_URL",
            BROKER,
            redis_url,
            example="redis://127.0.0.1:6379/1 or amqp://user:password@host:5672//",
        ),
        pool_size=read.whole("CHIFFON_DB_POOL_SIZE", 8, lowest=1, highest=100),
        playbook_repo=read.text("CHIFFON_PLAYBOOK_REPO"),
        llm_base_url=read.url("CHIFFON_LLM_BASE_URL", HTTP, example="http://127.0.0.1:4000/v1"),
        llm_api_key=read.text("CHIFFON_LLM_API_KEY"),
        llm_model=read.text("CHIFFON_LLM_MODEL"),
        llm_local_base_url=read.url("CHIFFON_LLM_LOCAL_BASE_URL", HTTP, example="http://127.0.0.1:11434/v1"),
        llm_local_model=read.text("CHIFFON_LLM_LOCAL_MODEL"),
        otel_endpoint=read.url("OTEL_EXPORTER_OTLP_ENDPOINT", HTTP, example="http://127.0.0.1:4318"),
        email_url=read.url(
            "CHIFFON_EMAIL_URL", ("smtp", "smtps", "smtp+tls"), example="smtp+tls://user:password@mail.example.org:587"
        ),
        from_email=read.text("CHIFFON_DEFAULT_FROM_EMAIL", "chiffon@localhost"),
        diagnostics=read.flag("CHIFFON_DIAGNOSTICS", default=True),
    )


def _remembered(folder: Path) -> dict[str, str]:
    path = folder / ENVIRONMENT_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}  # whoever may not read it has to name the servers by variables
    except (OSError, ValueError) as error:
        raise WrongEnvironment(
            f"The file {path} cannot be read ({error}): remove it and run chiffon up again."
        ) from error
    if not isinstance(values, dict):
        raise WrongEnvironment(f"The file {path} does not hold a JSON object: remove it and run chiffon up again.")
    return {str(name): str(value) for name, value in values.items()}


def _secret_key(read: _Reader, folder: Path, *, debug: bool) -> str:
    key = read.text("CHIFFON_SECRET_KEY")
    if not key:
        try:
            key = (folder / SECRET_KEY_FILE).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            key = DEBUG_SECRET_KEY if debug else ""
    if debug:
        return key
    if len(key) < SHORTEST_SECRET_KEY or key == DEBUG_SECRET_KEY or key.startswith("django-insecure"):
        raise WrongEnvironment(
            f"CHIFFON_SECRET_KEY is missing or guessable: it accepts a random text of {SHORTEST_SECRET_KEY} characters or more, "
            f"or run chiffon up once, which makes one in the data folder."
        )
    return key


def _hosts(bind: str, public_url: str) -> tuple[str, ...]:
    hosts = ["localhost", "127.0.0.1", "[::1]", urlsplit(public_url).hostname or ""]
    if _is_address(bind) and bind not in {"0.0.0.0", "::", "localhost"}:  # noqa: S104 - compared, not bound
        hosts.append(f"[{bind}]" if ":" in bind else bind)
    return tuple(dict.fromkeys(host for host in hosts if host))


def _is_address(value: str) -> bool:
    if value == "localhost":
        return True
    try:
        ip_address(value)
    except ValueError:
        return False
    return True
