"""What a server sends, made fit for logs, for messages, and for the databases behind XCom and triggers."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from airflow_provider_cohere_datasets.core.urls import without_queries

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Beyond what 64 bits hold.
INT64 = 2**63
#: Control characters, and those that change the direction of text or cannot be seen: they could forge a log.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]+")
#: Where JSON has none of these, :func:`storable` has nothing to do.
_DOUBTFUL = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|NaN|Infinity|[0-9]{19}|[0-9][eE]\+?[0-9]{3}")
#: A JSON string, which may lack its end, or a bracket outside of one.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{}\]]', re.DOTALL)
#: Far more than anything documented, and far less than what Python can read.
_DEEPEST = 50


def printable(text: str) -> str:
    """Return a text in which a space stands for characters that could forge a log."""
    return _UNPRINTABLE.sub(" ", text)


def shareable(text: str, most: int) -> str:
    """Return a text as anybody may read it: without what signs a URL, without what could forge a log, and cut."""
    text = printable(without_queries(text)).strip()
    return text if len(text) <= most else f"{text[:most]}…"


def storable(value: Any) -> Any:
    r"""Return JSON as Airflow can store it.

    A lone surrogate, which is no UTF-8, and NUL, which PostgreSQL refuses, become their escapes, ``\ud83d`` and
    ``\u0000``; an integer beyond 64 bits, NaN and infinity become texts. Of these one is enough to end a triggerer, and
    with it the waits of everybody.
    """
    if isinstance(value, str):
        return value.replace("\0", r"\u0000").encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {storable(name): storable(member) for name, member in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, int):
        return value if -INT64 <= value < INT64 else str(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def is_doubtful(body: bytes) -> bool:
    """Return whether there may be something in a JSON text that cannot be stored as it is."""
    return _DOUBTFUL.search(body) is not None


def shallow(body: bytes, mark: bytes = b"") -> bytes:
    """Return a JSON text with no value nested more deeply than anything documented, so that Python can read it.

    :param mark: stands in place of what was nested too deeply; a text without escapes.
    """
    kept: list[bytes] = []
    depth = start = 0
    for token in _TOKEN.finditer(body):
        if token[0] in {b"[", b"{"}:
            depth += 1
            if depth == _DEEPEST:
                kept += body[start : token.end()], b'"%b"' % mark, b":0" if token[0] == b"{" else b""
        elif token[0] in {b"]", b"}"}:
            if depth == _DEEPEST:
                start = token.start()
            depth -= 1
    return b"".join([*kept, body[start:]])


def total(numbers: Iterable[int]) -> int:
    """Return a sum, or the most or the least that 64 bits hold."""
    return max(-INT64, min(sum(numbers), INT64 - 1))
