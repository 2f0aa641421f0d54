"""Signed download URLs."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from urllib.parse import urlencode


class UrlSigner:
    """Signs download paths, as object stores do: whoever has the URL may fetch the file, until it expires."""

    def __init__(self, secret: str, clock: Callable[[], float], lifetime_seconds: float) -> None:
        """
        Take the key.

        :param secret: the key of the signatures.
        :param clock: tells the time in epoch seconds.
        :param lifetime_seconds: how long a signature is valid.
        """
        self._secret = secret.encode()
        self._clock = clock
        self._lifetime_seconds = lifetime_seconds

    def query(self, path: str) -> str:
        """
        Sign a path.

        :returns: the query string; another one at each call, as in production.
        """
        expires = str(int(self._clock() + self._lifetime_seconds))
        nonce = secrets.token_hex(8)
        signature = self._signature(path, expires, nonce)
        return urlencode({"Expires": expires, "Nonce": nonce, "Signature": signature})

    def accepts(self, path: str, expires: str, nonce: str, signature: str) -> bool:
        """Tell whether a signature is ours, for this path, and not yet expired."""
        # Compared as bytes: compare_digest refuses strings outside ASCII, which a caller may well send.
        if not hmac.compare_digest(self._signature(path, expires, nonce).encode(), signature.encode()):
            return False
        return self._clock() < int(expires)

    def _signature(self, path: str, expires: str, nonce: str) -> str:
        return hmac.new(self._secret, "\n".join((path, expires, nonce)).encode(), hashlib.sha256).hexdigest()
