"""The rows of a page as they came, for the column ``_raw``.

Fields that are not known, repeated keys, the order of keys and the digits of numbers all stay; the space between
tokens does not. Signatures do not land this way either: part URLs and samples are treated as in the other columns,
and every other URL loses its query too, whatever field it stands in, because it may be signed as well. Samples and the
Avro schema are the user's own text and stay whole.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow_provider_cohere_datasets.core.untrusted import shallow
from airflow_provider_cohere_datasets.core.urls import without_queries
from airflow_provider_cohere_datasets.lake.parts import URL_FIELDS, PartUrls

if TYPE_CHECKING:
    from collections.abc import Callable

#: Fields with text of the user.
_USERS = ("samples", "schema")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class _Pairs(list[Any]):
    """The members of an object, in order and with repeated keys."""


class _Number(str):
    """A number, with its digits as they came."""

    __slots__ = ()


def raw_rows(body: bytes, *, part_urls: PartUrls, include_samples: bool) -> list[str | None]:
    """Return the rows of a page, each as JSON; ``None`` for one with values that are nested too deeply.

    :param body: a page that was decoded already, so it is known to be readable.
    :param part_urls: as for :class:`~.decode.Decoder`.
    :param include_samples: as for :class:`~.decode.Decoder`.
    :raises ValueError: if the page is no JSON.
    """

    def text(value: Any, key: str | None = None) -> str:
        if key == "samples" and not include_samples and value is not None:
            return "[]"
        if isinstance(value, _Pairs):
            members = [
                f"{_quoted(name)}:{text(member, name)}"
                for name, member in value
                if not (part_urls == "drop" and name in URL_FIELDS)
            ]
            return f"{{{','.join(members)}}}"
        if isinstance(value, list):
            return f"[{','.join(text(item, key) for item in value)}]"
        if isinstance(value, _Number):
            return str(value)
        if isinstance(value, str):
            if part_urls != "keep" and key not in _USERS:
                value = value.partition("?")[0] if key in URL_FIELDS else without_queries(value)
            return _quoted(value)
        return json.dumps(value)

    mark = uuid4().hex
    try:
        answer = _loaded(body)
    except RecursionError:
        answer = _loaded(shallow(body, mark.encode()))
    rows = dict(answer).get("datasets") if isinstance(answer, _Pairs) else None
    texts = [_unless_too_deep(text, row) for row in rows or ()]
    return [None if row is None or mark in row else row for row in texts]


def _loaded(body: bytes) -> Any:
    return json.loads(
        body.decode(errors="surrogateescape"),
        object_pairs_hook=_Pairs,
        parse_float=_Number,
        parse_int=_Number,
        parse_constant=_Number,
    )


def _unless_too_deep(text: Callable[[Any], str], row: Any) -> str | None:
    try:
        return text(row)
    except RecursionError:
        return None


def _quoted(text: str) -> str:
    """Return a JSON string; a lone surrogate, which no file may hold, stays an escape."""
    return json.dumps(text, ensure_ascii=not text.isascii() and _SURROGATE.search(text) is not None)
