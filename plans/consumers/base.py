"""What every socket shares: who is there, may they still, frames that are junk, and how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import InterfaceError, OperationalError

from audit.context import Actor
from plans.live.hub import in_thread

log = logging.getLogger(__name__)

# Of its own accord the server can only send 1000 and codes from 3000 on.
NOT_SIGNED_IN: Final = 4401
MAY_NOT_SEE: Final = 4403
JUNK: Final = 4400
TOO_MANY_FRAMES: Final = 4429
TRY_AGAIN_LATER: Final = 4503
OUR_FAULT: Final = 4500

LARGEST_FRAME: Final = 65_536
FRAMES_PER_SECOND: Final = 200
LOOKS_AGAIN_WHEN_BUSY: Final = 10.0  # seconds a permission that was asked stays good while there is something to send
LOOKS_AGAIN_WHEN_QUIET: Final = 60.0


class Ends(Exception):
    """The socket is to be closed with a code and a sentence."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class LiveSocket(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """A socket that sends by itself. Subclasses say what in `follow`, and what a client may say in `hear`.

    `scope["actor_now"]` is a function without arguments, given by the middleware, that asks the database who this is.
    """

    channel_layer_alias: ClassVar[Any] = None  # readers listen through their hub, which survives the broker's absence

    def __init__(
        self, busy_seconds: float = LOOKS_AGAIN_WHEN_BUSY, quiet_seconds: float = LOOKS_AGAIN_WHEN_QUIET
    ) -> None:
        super().__init__()
        self.busy_seconds = busy_seconds
        self.quiet_seconds = quiet_seconds
        self.actor: Actor | None = None
        self._asked_at = 0.0
        self._pump: asyncio.Task[None] | None = None
        self._useless: list[float] = []
        self._ended = False

    async def follow(self) -> None:
        """Send what there is and what comes, until the socket ends."""
        raise Ends(OUR_FAULT, "This socket has nothing to say.")

    def permitted(self, actor: Actor) -> bool:
        """Whether this person may receive what this socket sends. Asks the database."""
        return False

    async def hear(self, said: dict[str, Any]) -> bool:
        """What the client said, a JSON object. True if it was of use, as an acknowledgement of something that was sent."""
        return False

    async def connect(self) -> None:
        # Accepted first: only an open socket can be told by a code of its own why it ends.
        await self.accept()
        self._pump = asyncio.create_task(self._run())

    async def disconnect(self, code: int) -> None:
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._ended:
            return
        if text_data is None:
            await self.end(JUNK, "Only text is understood here.")
            return
        try:
            said = json.loads(text_data) if len(text_data) <= LARGEST_FRAME else None
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            await self.end(JUNK, "A frame is a JSON object of at most 64 KiB.")
            return
        if await self.hear(said):
            return  # there can be no more of these than events that were sent
        now = time.monotonic()
        self._useless = [at for at in self._useless if now - at < 1] + [now]
        if len(self._useless) > FRAMES_PER_SECOND:
            await self.end(TOO_MANY_FRAMES, "That is too many frames in a second.")

    async def end(self, code: int, sentence: str) -> None:
        """Close with a code and a sentence; whatever is being sent stops."""
        if self._pump is not None and self._pump is not asyncio.current_task():
            self._pump.cancel()
        if not self._ended:
            self._ended = True
            await self.close(code=code, reason=sentence)

    async def ask_again(self, *, busy: bool = True) -> None:
        """Go on, or end: a socket outlives signing out and the loss of a role. Asked anew only after some seconds."""
        age = time.monotonic() - self._asked_at
        if self._asked_at and age < (self.busy_seconds if busy else self.quiet_seconds):
            return
        self.actor, allowed = await in_thread(self._who)
        self._asked_at = time.monotonic()
        if self.actor is None:
            raise Ends(NOT_SIGNED_IN, "Sign in first.")
        if not allowed:
            raise Ends(MAY_NOT_SEE, "There is no such thing, or it is not for you.")

    def parameter(self, name: str) -> str:
        """A parameter of the address; empty if it is absent, given twice, or no text."""
        try:
            found = parse_qs(self.scope["query_string"].decode("ascii"), max_num_fields=20).get(name, [])
        except ValueError:
            return ""
        return found[0] if len(found) == 1 and "\0" not in found[0] else ""

    def _who(self) -> tuple[Actor | None, bool]:
        actor: Actor | None = self.scope["actor_now"]()
        return actor, actor is not None and self.permitted(actor)

    async def _run(self) -> None:
        try:
            await self.ask_again()
            await self.follow()
        except Ends as end:
            await self.end(end.code, end.sentence)
        except (OperationalError, InterfaceError) as error:
            log.warning("A live reader was sent away because the database did not answer: %s", error)
            await self.end(TRY_AGAIN_LATER, "The database does not answer. Try again in a moment.")
        except Exception:
            log.exception("A live reader was sent away")
            await self.end(OUR_FAULT, "Something went wrong on our side. Try again.")


class Nowhere(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Where no socket is: refused at the handshake."""

    channel_layer_alias: ClassVar[Any] = None

    async def connect(self) -> None:
        await self.close()
