"""As much of multipart/form-data as it takes to know what was uploaded."""

from __future__ import annotations

import hashlib
import mmap
import re
from dataclasses import dataclass

from tests.adversary.wire import Body

_STEP = 1 << 20


@dataclass(frozen=True)
class Upload:
    """One uploaded file.

    :param filename: as sent, ``None`` when there is none
    :param content_type: as sent, ``None`` when there is none
    :param length: in bytes
    :param sha256: of the content, in hexadecimal
    """

    filename: str | None
    content_type: str | None
    length: int
    sha256: str


def read_uploads(content_type: str, body: Body) -> dict[str, Upload] | None:
    """Read the parts of a multipart body, by field name.

    :param content_type: the request's
    :return: ``None`` when it is no well-formed multipart body
    """
    found = re.match(r'multipart/form-data;.*?boundary="?([^";]+)"?', content_type, re.IGNORECASE)
    if found is None:
        return None
    data = body.data()
    try:
        return _parts(data, b"--" + found[1].encode("latin-1"))
    finally:
        if isinstance(data, mmap.mmap):
            data.close()


def _parts(data: bytes | mmap.mmap, delimiter: bytes) -> dict[str, Upload] | None:
    uploads: dict[str, Upload] = {}
    at = data.find(delimiter)
    while at >= 0:
        at += len(delimiter)
        if data[at : at + 2] == b"--":
            return uploads
        start = data.find(b"\r\n\r\n", at)
        end = data.find(b"\r\n" + delimiter, at)
        if start < 0 or end < 0:
            return None
        head = data[at : start + 2].decode("utf-8", "replace")
        name = _field(head, r';\s*name="([^"]*)"')
        if name is None:
            return None
        start += 4
        digest = hashlib.sha256()
        for step in range(start, end, _STEP):
            digest.update(data[step : min(step + _STEP, end)])
        uploads[name] = Upload(
            filename=_field(head, r'filename="([^"]*)"'),
            content_type=_field(head, r"content-type:\s*([^\r\n]*)"),
            length=max(0, end - start),
            sha256=digest.hexdigest(),
        )
        at = end + 2
    return None


def _field(head: str, pattern: str) -> str | None:
    found = re.search(pattern, head, re.IGNORECASE)
    return found and found[1]
