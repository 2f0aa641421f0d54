"""Paths out of templates: safe against whatever a name may hold."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.filters import given

#: Storages read some of these in a way of their own: a version, a pattern, a chain of file systems.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\\?*#\ud800-\udfff]|::")
#: Schemes of storages in which everything lies in a bucket or container.
_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "wasb", "wasbs"})
#: A disk takes 255 bytes for a segment, in which more may stand, as ``name=`` in front.
_LONGEST, _CUT = 180, re.compile(r"%.?$")


def path_segment(name: object) -> str:
    """Return any text as one segment of a path; in templates ``{{ params.name | path_segment }}``.

    :param name: for example the name of a dataset. Everything but letters, digits and ``_.-~`` is percent-encoded,
        so that no name leads to another folder. What gets too long for a disk is cut, and ends in a digest instead.
    """
    encoded = quote(str(name), safe="", errors="replace")
    if encoded == "None":
        return "%4Eone"  # As it is, it would be taken for a template that gave no value.
    if not encoded:
        return "%empty"  # Which is nothing else's, because a percent sign becomes %25.
    if len(encoded) > _LONGEST:
        digest = hashlib.sha256(str(name).encode(errors="replace")).hexdigest()[:16]
        return f"{_CUT.sub('', encoded[:_LONGEST])}-{digest}"
    return encoded if encoded.strip(".") else encoded.replace(".", "%2E")


def absolute(path: str) -> str:
    """Return a path as one that begins at the root, a URL as it is.

    The paths of Airflow's older environments (universal-pathlib before 0.3) take a relative one for one at the root.
    """
    return path if "://" in path or path.startswith(("/", "file:")) else str(Path.cwd() / path)


def checked_path(argument: str, value: Any) -> str:
    """Return the text of a path that leads to where it seems to lead.

    :param argument: the argument's name, for errors.
    :param value: a path or URL, after templating.
    :raises CohereInputError: if it is empty, leaves its folder, names no file, or has a character that storages read
        in a way of their own.
    """
    text = given(argument, os.fspath(value) if isinstance(value, os.PathLike) else value)
    if text is None:
        raise CohereInputError(f"{argument} is empty: it must be the path or URL of a file.")
    scheme, _, rest = text.rpartition("://")
    segments = rest.split("/")
    subject = f"{argument} {text[:200]!r}"
    hint = "put names into a template with the filter path_segment"
    if _UNSAFE.search(scheme) or _UNSAFE.search(rest):
        raise CohereInputError(f"{subject} has a character that cannot stand in a path; {hint}.")
    if not scheme and rest.startswith("~"):
        raise CohereInputError(f"{subject} begins with ~, which Airflow does not expand; give the whole path.")
    if not {".", ".."}.isdisjoint(segments):
        raise CohereInputError(f"{subject} leads to another folder by '.' or '..'; {hint}.")
    if any(segment.rpartition("=")[2] == "None" for segment in segments):
        raise CohereInputError(f'{subject} has the text "None" in it: a template gave no value.')
    kind = rest.partition(":")[0].lower()
    if not scheme and ":" in rest and kind in {"file", *_STORES}:
        raise CohereInputError(f"{subject} is no URL: it must begin with {kind}://.")
    bucket = segments[0].rpartition("@")[2]
    # Between the second slash and the third there may only be an Airflow connection.
    if scheme == "file" and (bucket or segments[1:2] == [""]):
        raise CohereInputError(f"{subject} must have three slashes behind the colon, and then the path.")
    if scheme in _STORES and (len(segments) == 1 or not bucket):
        what = "a bucket or container, but it must name a file" if bucket else "no bucket or container"
        raise CohereInputError(f"{subject} names {what}.")
    if not segments[-1].strip():
        raise CohereInputError(f"{subject} names a folder, but it must name a file.")
    return text
