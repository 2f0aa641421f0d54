"""Cohere's datasets as assets: ``cohere://api.cohere.com/datasets/<id>``.

Airflow imports this module as soon as a DAG has an asset of whatever scheme, so it imports nothing but the standard
library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset
    from airflow.providers.common.compat.sdk import Asset

SCHEME = "cohere"
#: The host of Cohere's production.
HOST = "api.cohere.com"


def dataset_uri(dataset_id: str, host: str = HOST) -> str:
    """Return the URI of a dataset, in the one form that :func:`sanitize_uri` gives it too.

    :param dataset_id: its id, which is percent-encoded.
    :param host: the API's host, with its port unless that is 443; a base URL such as ``https://api.cohere.com`` is
        fine. Its path, if any, is left out, since ids do not depend on the way to the API.
    :raises ValueError: if the id or the host cannot be one.
    """
    if not isinstance(dataset_id, str):
        raise ValueError(f"The id of a dataset must be a text, not {type(dataset_id).__name__}.")
    authority = urlsplit(host if "://" in host else f"//{host}").netloc
    parts = urlsplit(f"{SCHEME}://{authority}/datasets/{_encoded(dataset_id)}")
    return sanitize_uri(parts).geturl()


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return a ``cohere://`` URI in its one form; Airflow calls this for the URI of every such asset.

    The host is in lower case, port 443 is left out, and the id is percent-encoded. ``cohere://<host>/datasets`` stands
    for all datasets.

    :param uri: the URI in parts.
    :raises ValueError: if it is not the URI of a dataset or of all. Airflow 2 only warns then, unless ``[core]
        strict_dataset_uri_validation`` is set.
    """
    host, port = uri.hostname, uri.port
    root, *ids = uri.path.removeprefix("/").split("/")
    if not host or "@" in uri.netloc or uri.query or root != "datasets" or len(ids) > 1:
        raise ValueError(f"The URI of a dataset must look like {SCHEME}://{HOST}/datasets/<id>, not {uri.geturl()!r}.")
    name = f"[{host}]" if ":" in host else host
    # An encoding that is not UTF-8 is a ValueError as well.
    path = "/".join(["", root, *(_encoded(unquote(dataset_id, errors="strict")) for dataset_id in ids)])
    return uri._replace(netloc=name if port in {None, 443} else f"{name}:{port}", path=path)


def create_asset(*, dataset_id: str, host: str = HOST, extra: Mapping[str, Any] | None = None) -> Asset:
    """Return a dataset as an asset; on Airflow 2 as one of Airflow's own "datasets".

    Its name is its URI, as in ``Asset("cohere://api.cohere.com/datasets/<id>")``, so the two are the same asset.

    :param dataset_id: the dataset's id.
    :param host: the API's host, see :func:`dataset_uri`.
    :param extra: what the asset carries, as JSON.
    :raises ValueError: if the id or the host cannot be one.
    """
    from airflow.providers.common.compat.sdk import Asset

    return Asset(uri=dataset_uri(dataset_id, host), extra=None if extra is None else dict(extra))


def convert_asset_to_openlineage(asset: Asset, lineage_context: object = None) -> OpenLineageDataset:
    """Return the asset as OpenLineage names it: namespace ``cohere://<host>``, name ``datasets/<id>``.

    :param asset: an asset with a ``cohere://`` URI.
    :param lineage_context: what recorded it, which makes no difference.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset

    parts = urlsplit(asset.uri)
    return Dataset(namespace=f"{SCHEME}://{parts.netloc}", name=unquote(parts.path.lstrip("/")))


def _encoded(dataset_id: str) -> str:
    if not dataset_id.strip() or dataset_id in {".", ".."}:
        raise ValueError(f"{dataset_id!r} cannot be the id of a dataset.")
    return quote(dataset_id, safe="")
