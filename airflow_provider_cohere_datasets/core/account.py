"""Where calls go, who they are from, and how patient they are; read from the fields of a connection."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_cohere_datasets.core.errors import CohereInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_BASE_URL = "https://api.cohere.com"
#: No value of a policy may be as large; far above what makes sense.
_MOST = 1_000_000_000
DEFAULT_CLIENT_NAME = "airflow-provider-cohere-datasets"


@dataclass(frozen=True, slots=True)
class RequestPolicy:
    """How often a call is tried and how long it may take.

    :param max_tries: requests at the most for one call.
    :param backoff_base: seconds; before try *n* + 1 a random wait of up to ``backoff_base * 2**(n - 1)`` is made.
    :param backoff_max: seconds; the longest wait that we choose ourselves.
    :param max_retry_after: seconds; the longest wait that the server may ask for. If it asks for more, the call
        fails at once and says so.
    :param connect_timeout: seconds to connect.
    :param read_timeout: seconds of silence while an answer is awaited and read, or a file is sent.
    :param total_timeout: seconds for one request as a whole, however busy the connection is.
    :param upload_timeout: the same for an upload, whose answer is awaited to the end of them.
    :param requests_per_minute: requests that one process sends with the API key at the most, at even distances;
        ``None`` for no limit. Cohere allows 500 a minute to all processes together.
    """

    max_tries: int = 5
    backoff_base: float = 1.0
    backoff_max: float = 30.0
    max_retry_after: float = 120.0
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    total_timeout: float = 120.0
    upload_timeout: float = 3600.0
    requests_per_minute: float | None = None

    def with_values(self, values: Mapping[str, Any], source: str) -> RequestPolicy:
        """Return this policy with some values replaced; keys that are not the policy's are left alone.

        :param values: new values by name; ``None`` and ``""`` mean "not set". Numbers may be texts, as the
            connection form may store them.
        :param source: where the values come from, for the error.
        :raises CohereInputError: if a value is not a usable number.
        """
        new: dict[str, Any] = {}
        for name in (f.name for f in fields(self)):
            value = values.get(name)
            if value is None or value == "":
                continue
            whole, minute = name == "max_tries", name == "requests_per_minute"
            try:
                number = float("nan" if isinstance(value, bool) else value)
            except (TypeError, ValueError, OverflowError):
                number = float("nan")
            least = 1 if whole else 0
            # "not (a <= b)" also refuses NaN.
            usable = least <= number < _MOST and (number > 0 or name.startswith(("backoff", "max_retry")))
            if not usable or (whole and not number.is_integer()):
                kind = "a whole number from 1" if whole else "a number above 0" if minute else "a number of seconds"
                raise CohereInputError(f"{name} in {source} must be {kind} and below {_MOST}, not {value!r:.40}.")
            new[name] = int(number) if whole else number
        return replace(self, **new)


@dataclass(frozen=True, slots=True)
class Account:
    """An API key and the only origin it may be sent to.

    :param base_url: scheme, host and an optional path prefix, without ``/v1`` and without a slash at the end.
    :param api_key: the key; never part of any text that this class makes of itself.
    :param client_name: sent as ``X-Client-Name``.
    :param policy: tries and deadlines.
    """

    base_url: str
    api_key: str = field(repr=False)
    client_name: str = DEFAULT_CLIENT_NAME
    policy: RequestPolicy = RequestPolicy()

    @property
    def is_on_this_machine(self) -> bool:
        """Whether the base URL leads to this machine, which is never reached through a proxy."""
        return _is_loopback(urlsplit(self.base_url).hostname or "")

    @classmethod
    def of(
        cls,
        *,
        conn_id: str,
        host: str | None,
        password: str | None,
        schema: str | None = None,
        port: int | None = None,
        extra: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Account:
        """Read an account from the fields of an Airflow connection.

        Nothing is taken from the environment: ``CO_API_URL`` and ``CO_API_KEY`` never win over the connection.

        :param conn_id: the connection's id, for errors.
        :param host: the base URL; with or without scheme, ``/v1`` and slash. Cohere's production if empty.
        :param password: the API key.
        :param schema: the scheme, where the connection came as a URI such as ``cohere-datasets://…/http``.
        :param port: the port, if it is not in ``host``.
        :param extra: ``client_name``, ``allow_insecure_http`` and the fields of :class:`RequestPolicy`.
        :param defaults: policy values that count where ``extra`` has none.
        :param overrides: policy values that win over ``extra``.
        :raises CohereInputError: if the key is missing or cannot be a key, or the URL is not usable.
        """
        label = f"connection {conn_id!r}"
        extra = extra or {}
        insecure = str(extra.get("allow_insecure_http", "")).strip().lower() in {"1", "true", "yes", "on"}
        client_name = str(extra.get("client_name") or DEFAULT_CLIENT_NAME).strip()
        if not (client_name.isascii() and client_name.isprintable()):
            raise CohereInputError(f"client_name in the extra of {label} must be printable ASCII.")
        policy = RequestPolicy().with_values(defaults or {}, "Airflow's configuration")
        policy = policy.with_values(extra, f"the extra of {label}")
        return cls(
            base_url=_base_url(host, schema, port, label, insecure),
            api_key=_api_key(password, label),
            client_name=client_name,
            policy=policy.with_values(overrides or {}, "request_policy"),
        )


def _api_key(password: str | None, label: str) -> str:
    """Return the key if it can stand in a header; never name it in an error."""
    if not password:
        raise CohereInputError(f"The API key is missing: set it as the password of {label}.")
    if not (password.isascii() and password.isprintable()) or " " in password:
        raise CohereInputError(
            f"The API key in the password of {label} has a space, a line break or a character outside ASCII, "
            "so it cannot be a key; it may have been pasted wrongly."
        )
    return password


def _base_url(host: str | None, schema: str | None, port: int | None, label: str, insecure: bool) -> str:
    text = (host or "").strip() or DEFAULT_BASE_URL
    problem = f"The base URL in the host of {label}"
    try:
        if "://" not in text:
            scheme = schema if schema in {"http", "https"} else None
            bare = urlsplit(f"//{text}").hostname or ""
            text = f"{scheme or ('http' if _is_loopback(bare) else 'https')}://{text}"
        parts = urlsplit(text)
        own_port = parts.port
    except ValueError:
        raise CohereInputError(f"{problem} is not a URL.") from None
    if parts.username is not None or parts.password is not None:
        raise CohereInputError(f"{problem} contains a user or password; the key belongs in the password field.")
    if parts.query or parts.fragment:  # Not shown, because a secret may stand there.
        raise CohereInputError(f"{problem} must look like {DEFAULT_BASE_URL}, without a query or a fragment.")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise CohereInputError(f"{problem} must look like {DEFAULT_BASE_URL}, not {text[:100]!r}.")
    odd = ":" not in parts.hostname and not re.fullmatch(r"[\w.-]+", parts.hostname)
    if odd or not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise CohereInputError(f"{problem} has a character that cannot stand in a URL.")
    if parts.scheme == "http" and not insecure and not _is_loopback(parts.hostname):
        raise CohereInputError(
            f"{problem} is plain http, which would show the API key on the network: use https, or set "
            '"allow_insecure_http": true in the extra if that is what you want.'
        )
    # A host may end with a dot. Other labels are only found too short or too long when the name is looked up.
    if not all(0 < len(part) < 64 for part in parts.hostname.removesuffix(".").split(".")):
        raise CohereInputError(f"{problem} has a name with an empty or too long part between its dots.")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    chosen = own_port if own_port is not None else port
    if chosen is not None and not 0 < chosen < 65536:
        raise CohereInputError(f"The port of {label} must be from 1 to 65535, not {chosen}.")
    netloc = name if chosen is None else f"{name}:{chosen}"
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/').removesuffix('/v1').rstrip('/')}"


def _is_loopback(hostname: str) -> bool:
    if hostname.lower() == "localhost":
        return True
    try:
        return ip_address(hostname).is_loopback
    except ValueError:
        return False
