"""The command line's way to a Chiffon server: where it is, who calls, and errors as sentences.

Exit codes of all client commands: 0 done (for `watch`: the plan completed), 1 the server refused or the plan ended
otherwise, 2 wrong arguments, 3 no server answers or nothing says which one, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

from chiffon_site.environment import ENVIRONMENT_FILE, WrongEnvironment, data_dir

TOKEN_FILE: Final = "cli-token"  # noqa: S105 - a file's name
DONE, REFUSED, NO_SERVER = 0, 1, 3
_PATIENCE: Final = httpx.Timeout(30, connect=5)

Json = dict[str, Any]
Work = Callable[["Client", argparse.Namespace], int]


class ClientProblem(Exception):
    """What prevents the command; the message is one sentence, `code` the exit code."""

    def __init__(self, sentence: str, code: int = REFUSED, problem: Json | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.problem = problem or {"detail": sentence}


class Client:
    """Calls to one server with one token."""

    def __init__(self, server: str, token: str) -> None:
        self.server = server.rstrip("/")
        self.authorization = {"Authorization": f"Bearer {token}"}
        headers = {**self.authorization, "Accept": "application/json"}
        try:
            self._http = httpx.Client(base_url=f"{self.server}/api/v1", headers=headers, timeout=_PATIENCE)
        except (httpx.InvalidURL, UnicodeEncodeError, ValueError) as error:
            raise ClientProblem(
                "CHIFFON_SERVER or CHIFFON_TOKEN has a value that no call can carry.", NO_SERVER
            ) from error

    def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET. Raises ClientProblem."""
        return self._call("GET", path, params={name: value for name, value in query.items() if value is not None})

    def post(self, path: str, body: Json) -> Any:
        """The answer to a POST, which a lost connection cannot double. Raises ClientProblem."""
        return self._call("POST", path, json=body, headers={"Idempotency-Key": str(uuid.uuid4())})

    def pages(self, path: str, **query: Any) -> Iterator[Json]:
        """Every item of a list, page by page. Raises ClientProblem."""
        after = query.pop("after", None)
        while True:
            page = self.get(path, after=after, **query)
            yield from page["items"]
            after = page["next"]
            if after is None:
                return

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def _call(self, method: str, path: str, **more: Any) -> Any:
        try:
            response = self._http.request(method, path, **more)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ClientProblem(f"No Chiffon answers at {self.server}: {_words(error)}.", NO_SERVER) from error
        try:
            answer = response.json()
        except ValueError as error:
            sentence = f"{self.server} answered {response.status_code} without JSON; is it a Chiffon server?"
            raise ClientProblem(sentence, NO_SERVER) from error
        if response.is_error or not isinstance(answer, dict):
            raise _told(response.status_code, answer)
        return answer


def path_of(kind: str, name: str, *rest: str) -> str:
    """The path of one thing that a person named; whatever they typed stays one part of it. Raises ClientProblem."""
    nothing = next((part for part in (name, *rest) if part in {"", ".", ".."}), None)
    if nothing is not None:  # such a part would make it the path of something else
        raise ClientProblem(f"{nothing!r} is not the name of anything.")
    return "/".join(["", kind, *(quote(part, safe="") for part in (name, *rest))])


def add_common(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that every client command takes."""
    parser.epilog = (
        "Exit codes: 0 done (for watch: the plan completed), 1 refused or ended otherwise, 2 wrong arguments, "
        "3 no server answers, 130 stopped by Ctrl-C."
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--server", metavar="URL", help="the server's address (CHIFFON_SERVER)")


def run_with_client(args: argparse.Namespace, work: Work) -> int:
    """Find the server, do the work, and turn what goes wrong into a sentence and an exit code."""
    try:
        client = Client(*find_server(os.environ, args.server))
        try:
            return work(client, args)
        finally:
            client.close()
    except ClientProblem as problem:
        if args.json:
            print(json.dumps(problem.problem))
        print(f"chiffon: {problem}", file=sys.stderr)
        return problem.code


def find_server(environ: Mapping[str, str], server: str | None = None) -> tuple[str, str]:
    """The server's address and the token: from the environment, else from the data folder. Raises ClientProblem."""
    try:
        folder = data_dir(environ)
    except WrongEnvironment as error:
        raise ClientProblem(str(error), NO_SERVER) from error
    address = server or environ.get("CHIFFON_SERVER", "").strip() or _address_in(folder)
    token = environ.get("CHIFFON_TOKEN", "").strip() or _text_of(folder / TOKEN_FILE)
    if not token:
        raise ClientProblem(
            "There is no token: set CHIFFON_TOKEN, or beside the data folder run "
            "chiffon token create --user U --scopes plans:read,requests:write --save.",
            NO_SERVER,
        )
    return address, token


def _address_in(folder: Path) -> str:
    try:
        known = json.loads((folder / ENVIRONMENT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    if not isinstance(known, dict):
        raise ClientProblem(
            f"Nothing says where Chiffon runs: {folder} holds no installation, and CHIFFON_SERVER is not set.",
            NO_SERVER,
        )
    address = str(known.get("CHIFFON_PUBLIC_URL") or "")
    if not address:
        address = f"http://127.0.0.1:{known.get('CHIFFON_PORT') or os.environ.get('CHIFFON_PORT') or 8000}"
    return address


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _told(status: int, answer: Any) -> ClientProblem:
    if not isinstance(answer, dict):
        return ClientProblem(f"The server answered {status} in a form that this client does not know.", NO_SERVER)
    sentence = str(answer.get("detail") or answer.get("title") or f"The server answered {status}.")
    errors = answer.get("errors") or []
    for found in errors if len(errors) > 1 else []:
        place = ".".join(str(part) for part in found.get("loc", [])[1:])
        sentence += f"\n  {place}: {found.get('msg')}"
    return ClientProblem(sentence, REFUSED, answer)


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
