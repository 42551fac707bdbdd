"""A WebSocket client of a few lines (RFC 6455), so that tests can speak to the shipped server over a real connection."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
from typing import Any

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Refused(Exception):
    """The handshake was answered with another status than 101."""

    def __init__(self, status: int) -> None:
        super().__init__(f"refused with {status}")
        self.status = status


class Closed(Exception):
    """The server ended the connection with this code; 1006 if it said nothing."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int, path: str, **headers: str) -> Wire:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}", "Sec-WebSocket-Version: 13"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        status = int(head.split(b" ", 2)[1])
        if status != 101:
            writer.close()
            raise Refused(status)
        return cls(reader, writer)

    async def item(self, timeout: float = 20) -> dict[str, Any]:
        """The next JSON object. Raises Closed."""
        found: dict[str, Any] = json.loads(await asyncio.wait_for(self._text(), timeout))
        return found

    async def ended(self) -> int:
        """The code the server ends with; what it sends before is dropped."""
        try:
            while True:
                await self.item()
        except Closed as closed:
            return closed.code

    def say(self, what: object) -> None:
        self.send(TEXT, json.dumps(what).encode())

    def send(self, kind: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", 0x80 | kind, 0x80 | size)
        elif size < 65_536:
            head = struct.pack("!BBH", 0x80 | kind, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | kind, 0x80 | 127, size)
        self.writer.write(head + bytes(4) + payload)  # a mask of zeros changes nothing

    def cut(self) -> None:
        """Break the connection without a word."""
        self.writer.transport.abort()

    async def _text(self) -> bytes:
        while True:
            kind, payload = await self._frame()
            if kind == TEXT:
                return payload
            if kind == PING:
                self.send(PONG, payload)
            if kind == CLOSE:
                self.cut()
                raise Closed(struct.unpack("!H", payload[:2])[0] if payload else 1005)

    async def _frame(self) -> tuple[int, bytes]:
        try:
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Closed(1006) from error
