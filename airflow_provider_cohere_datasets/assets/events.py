"""Events of the assets in a task's ``outlets``."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_cohere_datasets.assets.datasets import HOST, create_asset

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def emit(
    context: Mapping[str, Any],
    outlets: Iterable[Any],
    *,
    extra: Mapping[str, Any] | None = None,
    datasets: Mapping[str, Mapping[str, Any]] | None = None,
    host: str = HOST,
    partitions: bool = False,
) -> None:
    """Tell a task's outlets what it did; Airflow sends the events when the task succeeds.

    An asset, or a reference to one, gets its one event as ever, now with an extra. An asset alias gets an event for
    each dataset, whose asset is ``cohere://<host>/datasets/<id>``, so one alias stands for datasets that nobody knew
    when the DAG was written. Other outlets are left alone.

    :param context: the task's context.
    :param outlets: the task's ``outlets``.
    :param extra: what the event of each asset carries, as small JSON.
    :param datasets: for each dataset by its id what its event on an alias carries.
    :param host: the API's host or base URL, see :func:`~airflow_provider_cohere_datasets.assets.datasets.dataset_uri`.
    :param partitions: whether each asset gets one event for each dataset, with the id as the partition's key, in place
        of its one event; of several, none has an extra, because Airflow would give each the extra of all. Airflow below
        3.3 has no partitions of assets, so there it stays one event.
    :raises ValueError: if an id cannot be one, or has more than the 250 characters of a partition's key.
    """
    from airflow.providers.common.compat.sdk import Asset, AssetAlias

    assets: tuple[type, ...] = (Asset,)
    with suppress(ImportError):  # Airflow 2 has no references.
        from airflow.sdk.definitions.asset import AssetRef

        assets = (Asset, AssetRef)
    events = context.get("outlet_events")
    if events is None:  # In a user's unit test there may be nobody to tell.
        return
    for outlet in outlets:
        if isinstance(outlet, assets):
            event = events[cast("Asset", outlet)]
            keys = list(datasets or ()) if partitions and hasattr(event, "add_partitions") else []
            if keys:
                event.add_partitions(keys)
            if extra is not None and len(keys) < 2:
                event.extra = dict(extra)
        elif isinstance(outlet, AssetAlias) and datasets:
            event = events[outlet]
            for dataset_id, told in datasets.items():
                event.add(create_asset(dataset_id=dataset_id, host=host), extra=dict(told))
