"""Time-ordered identifiers, so that keys sort by age and partitions by month can be found from a key alone."""

from __future__ import annotations

import hashlib
import os
import time
import uuid


def uuid7() -> uuid.UUID:
    """A UUID version 7: 48 bits of Unix milliseconds, then random bits (RFC 9562, section 5.7).

    Python has its own from 3.14 on; PostgreSQL has one from 18 on, and 15 is supported.
    """
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76 | (random >> 68 & 0xFFF) << 64
    value |= 0b10 << 62 | random & 0x3FFF_FFFF_FFFF_FFFF
    return uuid.UUID(int=value)


def uuid_of(content: bytes) -> uuid.UUID:
    """The UUID version 8 that is made of some content, so that equal contents have the same (RFC 9562, section 5.8)."""
    value = int.from_bytes(hashlib.sha256(content).digest()[:16])
    return uuid.UUID(int=value & ~(0xF << 76 | 0b11 << 62) | 0x8 << 76 | 0b10 << 62)
