"""Whose certificates are trusted: the same in tasks and in the triggerer."""

from __future__ import annotations

import os

from airflow_provider_cohere_datasets.core.errors import CohereInputError

#: The first that is set wins. Left to themselves, requests reads only the first two and httpx only the others.
_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def ca_bundle() -> str | None:
    """Return the file or the directory of certificates that the environment names, ``None`` for the usual ones.

    :raises CohereInputError: if it cannot be read; no try would be better than the first.
    """
    for name in _VARIABLES:
        path = os.environ.get(name)
        # OpenSSL takes several directories, and httpx leaves it to OpenSSL; requests takes one.
        if path and not (name == "SSL_CERT_DIR" and os.pathsep in path):
            if not os.access(path, os.R_OK):
                raise CohereInputError(f"The CA bundle {path[:200]!r} of {name} in the environment cannot be read.")
            return path
    return None
