"""What both drivers do alike with a request and its answer."""

from __future__ import annotations

import gzip
import io
import json
import re
import time
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow_provider_cohere_datasets import __version__
from airflow_provider_cohere_datasets.core.calls import Reply, TransportFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_cohere_datasets.core.account import Account
    from airflow_provider_cohere_datasets.core.calls import Call

#: A page of the list is known to stay below about 4 MiB; what is far beyond is not from the API.
MAX_BODY_BYTES = 256 * 1024 * 1024
#: Why an answer is not read to its end.
TOO_LARGE = f"the answer is larger than {MAX_BODY_BYTES >> 20} MiB"
PACKED_OTHERWISE = "the answer is compressed in a way that was not asked for"
#: Without the proxy's URL, in which a password may stand.
BAD_PROXY = "A proxy that the environment names has a URL that is none, or of a kind that is not supported."
#: Cohere's keys have 40 characters. One for a local server may be a word that is also in the names of datasets, and
#: the data of a success must not change.
_SECRET_LENGTH = 16
#: In what is larger, a page of an export, only what JSON's encoders escape is looked for: to look for letters and
#: digits too, which none does, would cost the export a twentieth of its time.
_SMALL = 1 << 20


def headers_for(account: Account) -> dict[str, str]:
    """Return the headers of every request, without the key."""
    return {
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": f"airflow-provider-cohere-datasets/{__version__}",
        "X-Client-Name": account.client_name,
    }


def reply_for(
    account: Account, call: Call, status: int, headers: Mapping[str, str], body: bytes | TransportFailure
) -> Reply | TransportFailure:
    """Return the reply. A key that the server echoes is taken out here, before anybody can log or store it.

    :param body: the body, or why it did not come whole. What is no success, its status explains without a body.
    """
    if isinstance(body, TransportFailure):
        if 200 <= status < 300:
            return body
        body = b""
    key = account.api_key
    if len(key) >= _SECRET_LENGTH or not 200 <= status < 300:
        # As it is, as JSON spells it, and as a URL does; the longest first, for they may contain each other.
        spelt = json.dumps(key)[1:-1]
        for spelling in sorted({key, spelt, spelt.replace("/", "\\/"), quote(key, safe="")}, key=len, reverse=True):
            body = body.replace(spelling.encode(), b"***")
        suspects = key if len(body) <= _SMALL else "".join(re.findall(r"[^0-9A-Za-z]", key))
        # The second pattern takes long, and an escape is seldom there.
        if suspects and _escapes(suspects).search(body):
            body = _escaped(key).sub(b"***", body)
    return Reply(
        url=account.base_url + call.target,
        status=status,
        headers={name.lower(): value.replace(key, "***") for name, value in headers.items()},
        body=body,
        received_at=time.time(),
    )


@lru_cache(maxsize=64)
def _escapes(characters: str) -> re.Pattern[bytes]:
    """Return what finds any of some characters where JSON escapes it by its number."""
    return re.compile(rf"\\u(?i:{'|'.join(sorted({_number(character) for character in characters}))})".encode())


@lru_cache(maxsize=64)
def _escaped(key: str) -> re.Pattern[bytes]:
    """Return what finds a key of which JSON escapes any characters."""
    spellings = (rf"(?:{re.escape(character)}|\\u(?i:{_number(character)}))" for character in key)
    return re.compile("".join(spellings).encode())


def _number(character: str) -> str:
    return f"{ord(character):04x}"


def is_packed(headers: Mapping[str, str]) -> bool:
    """Return whether an answer is compressed as it was asked for."""
    return _encoding(headers) == "gzip"


def unpacked(body: bytes | bytearray) -> bytes | TransportFailure:
    """Return what was compressed. HTTP libraries do not all see that the end is missing, or read on behind a part."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            whole = file.read(MAX_BODY_BYTES + 1)
    except (EOFError, OSError, zlib.error):
        return TransportFailure("the answer's compression is broken")
    return whole if len(whole) <= MAX_BODY_BYTES else TransportFailure(TOO_LARGE)


def is_packed_otherwise(headers: Mapping[str, str]) -> bool:
    """Return whether an answer is compressed in a way that was not asked for.

    Of several, each would unpack all that the one before it made, whatever amount that is.
    """
    return _encoding(headers) not in {"", "identity", "gzip"}


def _encoding(headers: Mapping[str, str]) -> str:
    return headers.get("Content-Encoding", "").strip().lower()
