"""URLs in what Cohere says of a dataset: they may be signed, and then their query is a secret."""

from __future__ import annotations

import re

#: A URL from ``://`` on, its query apart. The lake has Arrow apply it too, so it means the same to RE2, and for both it
#: goes over a text once: each match takes all that could be part of it, also where there is no query.
QUERY = r"(://[^\x09-\x0d ?\"'<>]*)(?:\?[^\x09-\x0d \"'<>]*)?"
#: A signature by its name, where a URL is cut by a quote or a blank in it, or has no ``://``.
SIGNATURE = (
    r"(?i)((?:X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)|[?&](?:Signature|sig))=)[^\x09-\x0d &\"'<>]*"
)


def without_queries(text: str) -> str:
    """Return a text in which no URL has a query, nor a signature.

    :param text: any text.
    """
    return re.sub(SIGNATURE, r"\1", re.sub(QUERY, r"\1", text))
