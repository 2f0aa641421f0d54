"""Sensors for Cohere's Datasets API."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowSensorTimeout, BaseSensorOperator, PokeReturnValue, conf

from airflow_provider_cohere_datasets.core.calls import checked_id
from airflow_provider_cohere_datasets.core.errors import CohereInputError, error_from_details
from airflow_provider_cohere_datasets.core.waiting import Goal, Verdict, WaitEvent, judge, look
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.hooks.errors import airflow_errors, for_airflow
from airflow_provider_cohere_datasets.hooks.retries import with_retry_policy
from airflow_provider_cohere_datasets.triggers.datasets import CohereDatasetValidationTrigger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cohere_datasets.core.waiting import Observation

#: Seconds that Airflow's own timeout leaves the trigger to report its timeout with the last status.
_MARGIN = 60


class CohereDatasetValidationSensor(BaseSensorOperator):
    """Wait until Cohere has validated one dataset, or all of several.

    ``validated`` is success. ``failed`` fails at once, with Cohere's reason, and Airflow does not retry it.
    ``unknown``, ``queued``, ``processing`` and any status that is not known yet wait. Part data and row counts show up before the
    status is ``validated`` and are not taken for it.

    In the modes ``poke`` and ``reschedule`` the task itself looks; with ``deferrable=True`` it looks once and then
    waits in the triggerer without taking a worker slot.

    :param dataset_id: the dataset; or
    :param dataset_ids: several of them.
    :param skipped_as: whether a validation that Cohere skipped is a failure or a success.
    :param poke_interval: seconds between two looks.
    :param deferrable: whether to wait in the triggerer; the default is ``[operators] default_deferrable``.
    :param conn_id: the connection.
    :param request_policy: tries and deadlines of each request that win over the connection's extra.
    :returns: for each dataset its id, status, rows, bytes and number of warnings; a list for ``dataset_ids``.
    :raises CohereDatasetFailedError: if the validation failed.
    :raises CohereDatasetSkippedError: if it was skipped, and that is not a success.
    :raises CohereDatasetNotFoundError: if the dataset does not exist.
    :raises AirflowSensorTimeout: after ``timeout`` seconds.
    """

    template_fields = ("conn_id", "dataset_id", "dataset_ids")
    ui_color = "#f5f0ea"

    def __init__(
        self,
        *,
        dataset_id: str | None = None,
        dataset_ids: Sequence[str] | None = None,
        skipped_as: Literal["fail", "success"] = "fail",
        poke_interval: float | timedelta = 30.0,
        deferrable: bool | None = None,
        conn_id: str = CohereDatasetsHook.default_conn_name,
        request_policy: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **with_retry_policy(kwargs))
        if skipped_as not in {"fail", "success"}:
            raise CohereInputError(f"skipped_as must be 'fail' or 'success', not {skipped_as!r:.40}.")
        self.dataset_id = dataset_id
        self.dataset_ids = dataset_ids
        self.skipped_as = skipped_as
        self.conn_id = conn_id
        self.request_policy = request_policy
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.deferrable = deferrable
        self._last: dict[str, Observation] = {}

    @cached_property
    def hook(self) -> CohereDatasetsHook:
        """The hook on the connection."""
        return CohereDatasetsHook(self.conn_id, request_policy=self.request_policy)

    def _ids(self) -> list[str]:
        with airflow_errors():
            if (self.dataset_id is None) == (self.dataset_ids is None):
                raise CohereInputError("Give either dataset_id or dataset_ids.")
            if self.dataset_ids is None:
                return [checked_id(self.dataset_id)]
            if isinstance(self.dataset_ids, str) or not self.dataset_ids:
                raise CohereInputError("dataset_ids must be a list of ids with at least one in it.")
            return list(dict.fromkeys(checked_id(dataset_id, "dataset_ids") for dataset_id in self.dataset_ids))

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once; raise what ends the wait."""
        ids = self._ids()
        seen = self.hook.run(look(ids, self.hook.get_conn().account.policy))
        self._log_changes(seen)
        goal = Goal(self.skipped_as)
        with airflow_errors(self.conn_id):
            verdicts = [judge(seen[dataset_id], goal) for dataset_id in ids]
        if Verdict.WAIT in verdicts:
            return False
        return PokeReturnValue(True, self._result(seen.values()))

    def execute(self, context: Context) -> Any:
        """Wait, in whatever mode the sensor is in."""
        if not self.deferrable:
            try:
                return super().execute(context)
            except AirflowSensorTimeout as error:
                raise AirflowSensorTimeout(f"{error} {self._last_seen(self._last.values())}") from None
        first = self.poke(context)
        if isinstance(first, PokeReturnValue):
            return first.xcom_value
        trigger = CohereDatasetValidationTrigger(
            dataset_ids=self._ids(),
            conn_id=self.conn_id,
            skipped_as=self.skipped_as,
            poke_interval=self.poke_interval,
            timeout=self.timeout,
            request_policy=dict(self.request_policy or {}),
        )
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout + _MARGIN),
        )

    def execute_complete(self, context: Context, event: object = None) -> Any:
        """Take the trigger's event: return the result or raise what ended the wait."""
        with airflow_errors(self.conn_id):
            ended = WaitEvent.from_json(event)
        if ended.outcome == "ready":
            return self._result(ended.observations)
        if ended.outcome == "timeout":
            raise AirflowSensorTimeout(
                f"The datasets were not validated within {self.timeout:g} s. {self._last_seen(ended.observations)}"
            )
        raise for_airflow(error_from_details(ended.error or {}), self.conn_id)

    def _result(self, seen: Iterable[Observation]) -> Any:
        rows = [
            {
                "id": o.id,
                "status": o.status,
                "num_rows": o.num_rows,
                "size_bytes": o.size_bytes,
                "warnings": o.warnings,
            }
            for o in seen
        ]
        return rows if self.dataset_ids is not None else rows[0]

    def _log_changes(self, seen: Mapping[str, Observation]) -> None:
        for dataset_id, observation in seen.items():
            before = self._last.get(dataset_id)
            if observation.status and (before is None or before.status != observation.status):
                self.log.info("Dataset %s is %s.", dataset_id, observation.status)
        self._last = dict(seen)

    @staticmethod
    def _last_seen(seen: Iterable[Observation]) -> str:
        waiting = [f"{o.id} is {o.status}" for o in seen if o.status != "validated"]
        shown = ", ".join(waiting[:10])
        return f"Last seen: {shown or 'nothing'}{f' and {len(waiting) - 10} more' if len(waiting) > 10 else ''}."
