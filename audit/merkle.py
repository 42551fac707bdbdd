"""Merkle trees over hashes (RFC 9162, section 2.1): one root for many leaves, and a short proof for each.

Pure. Leaves and inner nodes are hashed with different prefixes, so that neither can pass for the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

LEAF_PREFIX = b"\x00"
NODE_PREFIX = b"\x01"


def leaf_hash(data: bytes) -> bytes:
    """The hash of one leaf's content, 32 bytes."""
    return hashlib.sha256(LEAF_PREFIX + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(NODE_PREFIX + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two smaller than size."""
    return 1 << (size - 1).bit_length() - 1


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes; for none, the hash of nothing."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    half = _split(len(leaves))
    return _node(root(leaves[:half]), root(leaves[half:]))


def proofs(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """For each leaf the sibling hashes up to the root, nearest first (RFC 9162, section 2.1.3.1), each hash made once."""
    found: list[list[bytes]] = [[] for _ in leaves]

    def climb(begin: int, end: int) -> bytes:
        if end - begin == 1:
            return leaves[begin]
        middle = begin + _split(end - begin)
        left, right = climb(begin, middle), climb(middle, end)
        for place in range(begin, end):
            found[place].append(right if place < middle else left)
        return _node(left, right)

    if leaves:
        climb(0, len(leaves))
    return found


def root_from_proof(leaf: bytes, index: int, size: int, siblings: Sequence[bytes]) -> bytes | None:
    """The root that a leaf and its proof lead to, or None if the proof has the wrong length (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    node, last, value = index, size - 1, leaf
    for sibling in siblings:
        if last == 0:
            return None
        if node & 1 or node == last:
            value = _node(sibling, value)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            value = _node(value, sibling)
        node, last = node >> 1, last >> 1
    return value if last == 0 else None
