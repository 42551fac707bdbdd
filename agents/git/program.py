"""Run the git program in an environment made from nothing, and check what it may be given."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
REF: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}")
SCP_LIKE: Final = re.compile(
    r"(?:[A-Za-z0-9_][\w.-]*@)?([A-Za-z0-9][A-Za-z0-9.-]*):([A-Za-z0-9._~/][^\0\n]*)", re.ASCII
)
GIT_SECONDS: Final = 60.0
FETCH_SECONDS: Final = 300.0
SAFE_CONFIG: Final = (
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", os.devnull),
    ("core.excludesFile", os.devnull),
    ("core.autocrlf", "false"),
    ("core.quotePath", "false"),
    ("credential.helper", ""),
    ("protocol.allow", "never"),
    ("protocol.file.allow", "always"),
    ("protocol.https.allow", "always"),
    ("protocol.ssh.allow", "always"),
    ("submodule.recurse", "false"),
    ("commit.gpgSign", "false"),
    ("gc.auto", "0"),
    ("safe.directory", "*"),
)
FROM_OUTSIDE: Final = (
    "https_proxy",
    "HTTPS_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSH_AUTH_SOCK",
)


class GitError(Exception):
    """Git could not do it, or was asked for something it must not do. The message is one sentence for a person."""


def check_url(url: str) -> str:
    """An address git may be given: https, ssh, file, or an absolute path. Raises GitError for any other."""
    refused = GitError(
        f"{harmless(url)!r} is no address of a repository that is allowed: use https, ssh or a local folder."
    )
    if (
        not url
        or len(url) > 2000
        or url.startswith("-")
        or "::" in url
        or any(ord(c) < 33 or ord(c) == 127 for c in url)
    ):
        raise refused
    if url.startswith("/"):
        return url
    if "://" not in url:
        if SCP_LIKE.fullmatch(url):
            return url
        raise refused
    try:
        parts = urlsplit(url)
        host, user, password, _ = parts.hostname or "", parts.username, parts.password, parts.port
    except ValueError:
        raise refused from None
    if parts.scheme not in {"https", "ssh", "file"} or host.startswith("-") or (parts.scheme != "file" and not host):
        raise refused
    if password is not None or (user is not None and (parts.scheme != "ssh" or user.startswith("-"))):
        raise GitError("An address of a repository must not hold a user name or password; only ssh may name a user.")
    return url


def harmless(url: str) -> str:
    """The text without what may be a secret in an address."""
    return re.sub(r"//[^/@]*@", "//***@", url[:200])


def commit_id(commit: str) -> str:
    """The full id of a commit, as given. Raises GitError for anything else."""
    if not COMMIT.fullmatch(commit):
        raise GitError(f"{commit[:80]!r} is not the full id of a commit.")
    return commit


def inside(path: str) -> str:
    """The path of a file in a repository, as given. Raises GitError if it could be anything else."""
    parts = PurePosixPath(path).parts
    bad = not parts or path.startswith("/") or "\0" in path or "\n" in path or {"..", "."} & set(path.split("/"))
    if bad or any(part.lower() == ".git" for part in parts) or path.endswith("/") or "//" in path:
        raise GitError(f"{path[:200]!r} is not the path of a file inside a repository.")
    return path


def text(repository: Path | str, *args: str, feed: bytes = b"", env: Mapping[str, str] | None = None) -> str:
    """What git prints, as text without the space around it. Raises GitError if git fails."""
    return git(repository, *args, feed=feed, env=env).decode("utf-8", "surrogateescape").strip()


def git(
    repository: Path | str, *args: str, feed: bytes = b"", env: Mapping[str, str] | None = None, outside: bool = False
) -> bytes:
    """Run git in a repository and answer what it prints. Raises GitError if it fails or takes too long."""
    if not Path(repository).is_dir():
        raise GitError(f"There is no repository at {str(repository)!r}.")
    return run(["-C", str(repository), *args], feed=feed, env=env, outside=outside)


def run(
    args: Sequence[str], *, feed: bytes = b"", env: Mapping[str, str] | None = None, outside: bool = False
) -> bytes:
    """Run git in an environment made from nothing; its whole process group ends with it."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "false",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_CONFIG_COUNT": str(len(SAFE_CONFIG)),
    }
    for number, (key, value) in enumerate(SAFE_CONFIG):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    if outside:
        environment |= {name: os.environ[name] for name in FROM_OUTSIDE if name in os.environ}
    verb = next((arg for arg in args if not arg.startswith(("-", "/"))), "")
    seconds = FETCH_SECONDS if outside else GIT_SECONDS
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            ["git", *args],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env={**environment, **(env or {})},
            start_new_session=True,
        )
    except OSError as error:
        raise GitError(f"The program git could not be started: {error.strerror}.") from error
    try:
        out, err = process.communicate(feed, timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise GitError(f"git {verb} took longer than {seconds:.0f} s and was ended.") from None
    if process.returncode != 0:
        said = err.decode("utf-8", "replace").strip().splitlines()
        why = said[-1].removeprefix("fatal: ").removeprefix("error: ") if said else f"exit code {process.returncode}"
        raise GitError(f"git {verb} failed: {harmless(why)}")
    return out
