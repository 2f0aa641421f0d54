"""Triggers for Cohere's Datasets API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import TriggerEvent

from airflow_provider_cohere_datasets.core.errors import CohereDatasetsError
from airflow_provider_cohere_datasets.core.waiting import Goal, PollPolicy, WaitEvent, wait_for
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence


class CohereDatasetValidationTrigger(BaseEventTrigger):
    """Waits in the triggerer until datasets are validated.

    The constructor never raises and takes unknown keywords: an exception there would take the whole triggerer down,
    and during an upgrade a newer worker may send what an older triggerer does not know.

    :param dataset_ids: the datasets.
    :param conn_id: the connection; the key itself never stands in a trigger.
    :param skipped_as: whether a validation that Cohere skipped is a failure or a success.
    :param poke_interval: seconds between two looks.
    :param timeout: seconds until the wait ends with a timeout.
    :param request_policy: tries and deadlines of each request.
    """

    def __init__(
        self,
        dataset_ids: Sequence[str] = (),
        conn_id: str = CohereDatasetsHook.default_conn_name,
        skipped_as: Any = "fail",
        poke_interval: float = 30.0,
        timeout: float = 86400.0,
        request_policy: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        super().__init__()
        self.dataset_ids = dataset_ids
        self.conn_id = conn_id
        self.skipped_as = skipped_as
        self.poke_interval = poke_interval
        self.timeout = timeout
        self.request_policy = request_policy

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return everything that is needed to build the trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "dataset_ids": list(self.dataset_ids),
                "conn_id": self.conn_id,
                "skipped_as": self.skipped_as,
                "poke_interval": self.poke_interval,
                "timeout": self.timeout,
                "request_policy": self.request_policy,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the one event."""
        hook = CohereDatasetsHook(self.conn_id, request_policy=self.request_policy)
        try:
            async with await hook.get_async_conn() as transport:
                event = await transport.run(
                    wait_for(
                        self.dataset_ids,
                        goal=Goal(self.skipped_as),
                        poll=PollPolicy(interval=self.poke_interval),
                        policy=transport.account.policy,
                        timeout=self.timeout,
                    )
                )
        except CohereDatasetsError as error:
            event = WaitEvent("error", (), error.details())
        yield TriggerEvent(event.to_json())
