"""Uploads a file as a new dataset, once."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import conf

from airflow_provider_cohere_datasets.assets.events import emit
from airflow_provider_cohere_datasets.core.errors import (
    CohereDatasetFailedError,
    CohereDatasetsError,
    CohereDatasetSkippedError,
    CohereInputError,
    CohereTaskStoppedError,
    CohereUploadAmbiguousError,
    CohereUploadUnknownError,
    CohereUploadUnsettledError,
    CohereValidationTimeoutError,
    error_from_details,
)
from airflow_provider_cohere_datasets.core.filters import check_choice, check_flags, given
from airflow_provider_cohere_datasets.core.poll_policy import TRIGGER_MARGIN, PollPolicy
from airflow_provider_cohere_datasets.hooks.configuration import poll_interval
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.hooks.errors import airflow_errors, for_airflow
from airflow_provider_cohere_datasets.lineage.datasets import created as lineage_of_upload
from airflow_provider_cohere_datasets.operators.base import CohereDatasetsOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cohere_datasets.core.creation import Attempt, Creation
    from airflow_provider_cohere_datasets.core.wait_event import WaitEvent
    from airflow_provider_cohere_datasets.lake.source import Source
    from airflow_provider_cohere_datasets.operators.validation import Validation


class CohereCreateDatasetOperator(CohereDatasetsOperator):
    """Upload a file as a new dataset (``POST /v1/datasets``), once, and wait for its validation on request.

    The file is streamed. One task instance makes one dataset of the same data, also if its worker dies: on Airflow 3.3
    the task's state store holds the id, so a retry adopts the dataset instead of uploading again. Where a try ended
    before the id was known, and always below 3.3, the next try looks in the list for a dataset of the same name and
    type that was created since, and uploads only if there is none within seven seconds; a warning says so, because a
    server may work on the first upload for longer than that. Several tasks that upload under one name
    at the same time, below 3.3 in the same run, cannot be told apart that way: give them different names, or set
    ``unique_name``. Where mapped instances share a name, a doubt fails the task for good and says so.

    When a user clears the task, it uploads anew, unless ``reuse_on_clear`` is set.

    Returns (XCom, and the ``extra`` of the event of every asset in ``outlets``): id, name, dataset_type, bytes that
    were sent, and whether the dataset was adopted from an earlier try; after waiting also status, num_rows, size_bytes
    and warnings. Other operators and the sensor take this for a ``dataset_id``.

    :param name: the name, under 50 characters; names may repeat. (templated)
    :param dataset_type: the type, for example ``embed-input``. (templated)
    :param data: a ``.jsonl``, ``.csv``, ``.txt`` or ``.parquet`` file: a local path or the URL of an object store; or
        a table of pyarrow, pandas or polars. Parquet and tables are converted to JSON Lines. (templated)
    :param eval_data: the same for evaluation. (templated)
    :param keep_original_file: whether Cohere keeps the file as it was uploaded.
    :param skip_malformed_input: whether rows that do not fit are dropped with a warning.
    :param keep_fields: fields to keep beside the required ones. (templated)
    :param optional_fields: the same for fields that may be missing. (templated)
    :param text_separator: what separates the entries of a ``.txt`` file.
    :param csv_delimiter: the one character that separates the columns of a ``.csv`` file.
    :param check_usage: whether to ask first how much the organisation stores, and not to upload what exceeds its
        10 GB.
    :param unique_name: whether to append ``-`` and 8 hexadecimal digits to the name. They are the same in each try of
        the task instance, so that a retry finds its dataset by its name; a user who clears the task gets others,
        unless ``reuse_on_clear`` is set.
    :param reuse_on_clear: whether a task that a user cleared adopts the dataset of its earlier run, if the data is the
        same (Airflow 3.3; later versions may forget it).
    :param wait_for_validation: whether to wait until Cohere has validated the dataset, as the sensor does.
    :param deferrable: whether to wait in the triggerer; the default is ``[operators] default_deferrable``.
    :param poke_interval: seconds between two looks; ``[cohere_datasets] poll_interval`` by default, 30 if not set.
    :param validation_timeout: seconds to wait for the validation at the most. A retry goes on waiting for the same
        dataset.
    :param skipped_as: whether a validation that Cohere skipped is a failure or a success.
    :param delete_on_failure: whether to delete the dataset if its validation failed or was skipped.
    :param delete_on_kill: whether to delete the dataset if the task is killed, marked or cleared while it waits; while
        it is deferred that takes Airflow 3.3, and a triggerer that runs at that moment.
    :raises CohereInputError: for bad arguments or files, and where there is no room; before anything is sent.
    :raises CohereStorageError: if the storage of a file fails in a way that may pass, or there is no room to convert.
    :raises CohereUploadUnsettledError: if nobody can tell whether the dataset was created; the next try looks.
    :raises CohereUploadAmbiguousError: if several datasets may be the one, or its name proves nothing.
    :raises CohereDatasetFailedError: if the validation failed.
    :raises CohereDatasetSkippedError: if it was skipped, and that is not a success.
    :raises CohereValidationTimeoutError: if it takes longer than ``validation_timeout``.
    :raises CohereTaskStoppedError: if the task is told to stop, with ``delete_on_kill``.
    """

    template_fields = (
        *CohereDatasetsOperator.template_fields,
        "name",
        "dataset_type",
        "data",
        "eval_data",
        "keep_fields",
        "optional_fields",
    )

    def __init__(
        self,
        *,
        name: str,
        dataset_type: str,
        data: Source,
        eval_data: Source | None = None,
        keep_original_file: bool | None = None,
        skip_malformed_input: bool | None = None,
        keep_fields: Sequence[str] | None = None,
        optional_fields: Sequence[str] | None = None,
        text_separator: str | None = None,
        csv_delimiter: str | None = None,
        check_usage: bool = True,
        unique_name: bool = False,
        reuse_on_clear: bool = False,
        wait_for_validation: bool = False,
        deferrable: bool | None = None,
        poke_interval: float | timedelta | None = None,
        validation_timeout: float | timedelta = 24 * 3600.0,
        skipped_as: Literal["fail", "success"] = "fail",
        delete_on_failure: bool = False,
        delete_on_kill: bool = False,
        **kwargs: Any,
    ) -> None:
        # So that ``create.output["id"]`` works beside ``create.output``.
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.name = name
        self.dataset_type = dataset_type
        self.data = data
        self.eval_data = eval_data
        self.keep_original_file = keep_original_file
        self.skip_malformed_input = skip_malformed_input
        self.keep_fields = keep_fields
        self.optional_fields = optional_fields
        self.text_separator = text_separator
        self.csv_delimiter = csv_delimiter
        self.check_usage = check_usage
        self.unique_name = unique_name
        self.reuse_on_clear = reuse_on_clear
        self.wait_for_validation = wait_for_validation
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.deferrable = deferrable
        self.poke_interval = _seconds(poll_interval(poke_interval))
        self.validation_timeout = _seconds(validation_timeout)
        self.skipped_as = skipped_as
        self.delete_on_failure = delete_on_failure
        self.delete_on_kill = delete_on_kill
        self._name_as_written = name
        self._dataset_id: str | None = None
        self._running_in: int | None = None
        self._told_to_stop = False
        self._sending: str | None = None
        with airflow_errors():
            check_choice("skipped_as", skipped_as, "fail", "success")
            check_flags(
                check_usage=check_usage,
                unique_name=unique_name,
                reuse_on_clear=reuse_on_clear,
                wait_for_validation=wait_for_validation,
                deferrable=deferrable,
                delete_on_failure=delete_on_failure,
                delete_on_kill=delete_on_kill,
            )
            self._poll_policy()
            try:
                PollPolicy(interval=self.validation_timeout)
            except CohereInputError:
                what = f"{self.validation_timeout!r:.40}"
                raise CohereInputError(f"validation_timeout must be a number of seconds, not {what}.") from None

    def _poll_policy(self) -> PollPolicy:
        return PollPolicy(interval=self.poke_interval)

    def execute(self, context: Context) -> dict[str, Any]:
        """Upload or adopt, wait if asked to, and tell the assets in ``outlets``."""
        return self._until_told_to_stop(lambda: self._execute(context))

    def _until_told_to_stop(self, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            try:
                self._told_to_stop, self._running_in = False, threading.get_ident()
                result = run()
            finally:
                self._running_in = None
        except BaseException:
            if not self._told_to_stop:
                raise
        else:
            if not self._told_to_stop:
                return result
        self._delete("the task was killed")
        self._dataset_id = None
        unknown = (
            f" Whether there is a dataset {self._sending!r} now is not known; a retry looks for it, but a task that is "
            "cleared uploads anew."
        )
        message = f"The task was told to stop.{unknown if self._sending else ''}"
        raise for_airflow(CohereTaskStoppedError(message), self.conn_id)

    def _execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_cohere_datasets.core.creation import Attempt
        from airflow_provider_cohere_datasets.core.new_dataset import DATASET_TYPES
        from airflow_provider_cohere_datasets.operators.upload_memory import UploadMemory

        memory = UploadMemory(context, retries=self.retries or 0, reuse_on_clear=self.reuse_on_clear)
        name = self.name
        if self.unique_name:
            with airflow_errors():  # before the suffix would hide that there is no name
                written = given("name", name)
            name = f"{written}-{memory.token}" if written else name
        if self.dataset_type and self.dataset_type not in DATASET_TYPES:
            self.log.warning("The dataset type %r is not documented; Cohere may refuse it.", self.dataset_type)
        with self.hook.creation(
            name=name,
            dataset_type=self.dataset_type,
            data=self.data,
            eval_data=self.eval_data,
            keep_original_file=self.keep_original_file,
            skip_malformed_input=self.skip_malformed_input,
            keep_fields=self.keep_fields,
            optional_fields=self.optional_fields,
            text_separator=self.text_separator,
            csv_delimiter=self.csv_delimiter,
        ) as creation:
            earlier = memory.recall(creation.fingerprint)
            # What an earlier try sent may still turn up, so the time from which on a dataset may be ours does not move.
            attempt = Attempt(
                time.time() if earlier is None else earlier.since,
                frozenset(memory.others),
                self._name_is_shared(context),
                elsewhere=earlier is not None,
            )
            adopted = None if earlier is None else self._adopted(creation, earlier.dataset_id, attempt)
            if adopted is None:
                memory.sending(creation.fingerprint, attempt.since)
                if memory.others:
                    earlier_ids = ", ".join(memory.others)
                    self.log.info("Uploading anew; from before a clear, or of other data, there were: %s.", earlier_ids)
                if earlier is not None and earlier.dataset_id is None:
                    self.log.warning(
                        "An earlier try began to send this, and no dataset of it is there: uploading again. Should it "
                        "still turn up, there are two."
                    )
            self._dataset_id = adopted or self._upload(creation, attempt)
            self._sending = None
        memory.created(creation.fingerprint, self._dataset_id)
        result = {
            "id": self._dataset_id,
            "name": creation.new.name,
            "dataset_type": creation.new.dataset_type,
            "bytes": creation.size,
            "adopted": adopted is not None,
        }
        if self.wait_for_validation:
            result |= self._wait(self._dataset_id, created=result)
        return self._done(result, context)

    def _adopted(self, creation: Creation, dataset_id: str | None, attempt: Attempt) -> str | None:
        """Return the id of the dataset that an earlier try made, if it made one that is still there."""
        from airflow_provider_cohere_datasets.core.creation import find
        from airflow_provider_cohere_datasets.core.looking import Looker

        policy = self.hook.get_conn().account.policy
        if dataset_id is None:
            dataset_id = self.hook.run(find(creation, policy, attempt))
        else:
            # Right after its creation a dataset may not be known yet, so a look asks more than once.
            looked = self.hook.run(Looker().look([dataset_id], policy))[dataset_id]
            if isinstance(looked, CohereDatasetsError):
                raise for_airflow(looked, self.conn_id)
            # A gateway in trouble may answer 404 to anything, so before a second upload the list is asked too.
            if looked.status is None and dataset_id not in {each.id for each in self.hook.list_datasets()}:
                self.log.warning("Dataset %s of an earlier try is gone; uploading again.", dataset_id)
                return None
        if dataset_id is not None:
            self.log.info("Dataset %s is from an earlier try of this task; nothing is uploaded.", dataset_id)
        return dataset_id

    def _upload(self, creation: Creation, attempt: Attempt) -> str:
        from airflow_provider_cohere_datasets.core.creation import create

        if self.check_usage:
            self.hook.check_room(creation.size)
        self._sending = creation.new.name
        try:
            dataset_id = self.hook.run(create(creation, self.hook.get_conn().account.policy, attempt))
        except CohereUploadAmbiguousError:
            raise
        except CohereUploadUnknownError as error:
            unsettled = CohereUploadUnsettledError(f"{error.message} Another try looks for it before it sends again.")
            unsettled.__dict__.update({**error.__dict__, "message": unsettled.message})
            raise for_airflow(unsettled, self.conn_id) from error
        self.log.info("Created dataset %s from %s.", dataset_id, getattr(self.data, "shape", self.data))
        return dataset_id

    def _name_is_shared(self, context: Context) -> bool:
        from airflow_provider_cohere_datasets.operators.mapped_names import is_shared

        return not self.unique_name and is_shared(context, self.task_id, self._name_as_written)

    def _wait(self, dataset_id: str, created: dict[str, Any]) -> dict[str, Any]:
        """Wait for the validation, here or in the triggerer; the first look is always made here."""
        started_at = time.time()
        validation = self._validation(dataset_id)
        over = validation.wait(0.0 if self.deferrable else self.validation_timeout)
        if over.outcome == "timeout" and self.deferrable and self.validation_timeout > 0:
            from airflow_provider_cohere_datasets.triggers.datasets import CohereDatasetValidationTrigger

            self.defer(
                trigger=CohereDatasetValidationTrigger(
                    dataset_id=dataset_id,
                    conn_id=self.conn_id,
                    skipped_as=self.skipped_as,
                    poke_interval=self.poke_interval,
                    timeout=self.validation_timeout,
                    started_at=started_at,
                    request_policy=dict(self.request_policy) if self.request_policy else None,
                    memory=validation.memory(),
                    delete_on_kill=self.delete_on_kill,
                    carried=created,
                ),
                method_name="execute_complete",
                timeout=timedelta(seconds=self.validation_timeout + TRIGGER_MARGIN),
            )
        return self._validated(over, validation.last_seen())

    def _validation(self, dataset_id: str) -> Validation:
        from airflow_provider_cohere_datasets.operators.validation import Validation

        return Validation(self.hook, dataset_id, self.skipped_as, self._poll_policy())

    def execute_complete(self, context: Context, event: object = None) -> dict[str, Any]:
        """Take the trigger's event: return the result or raise what ended the wait.

        :raises CohereEventError: for an event that is none of ours or of another version.
        """
        from airflow_provider_cohere_datasets.core.wait_event import WaitEvent
        from airflow_provider_cohere_datasets.core.waiting import Goal

        created = (event.get("carried") if isinstance(event, dict) else None) or {}
        with airflow_errors(self.conn_id):
            over = WaitEvent.from_json(event, [created.get("id")], Goal(self.skipped_as).done)
        self._dataset_id = created.get("id")

        def complete() -> dict[str, Any]:
            ended, last_seen = over, ""
            if over.outcome == "timeout" and self._dataset_id is not None:
                # The last look is made when the time is up.
                validation = self._validation(self._dataset_id)
                validation.recall(over.recollection())
                ended, last_seen = validation.wait(0.0), validation.last_seen()
            return self._done(created | self._validated(ended, last_seen), context)

        return self._until_told_to_stop(complete)

    def _validated(self, over: WaitEvent, last_seen: str) -> dict[str, Any]:
        if over.outcome == "ready":
            return over.results()[0]
        if over.outcome == "timeout":
            raise for_airflow(
                CohereValidationTimeoutError(
                    f"Dataset {self._dataset_id!r} was not validated within {self.validation_timeout:g} s. {last_seen}",
                    dataset_id=self._dataset_id,
                ),
                self.conn_id,
            )
        error = error_from_details(over.error or {})
        if self.delete_on_failure and isinstance(error, CohereDatasetFailedError | CohereDatasetSkippedError):
            self._delete("its validation did not succeed")
        raise for_airflow(error, self.conn_id)

    def _delete(self, why: str) -> None:
        """Delete the dataset that this task made; trouble with that must not hide why."""
        if self._dataset_id is None:
            return
        try:
            # A hook of its own, because the task may have been interrupted in the middle of a request.
            CohereDatasetsHook(self.conn_id, request_policy=self.request_policy).delete_dataset(self._dataset_id)
        except CohereDatasetsError as error:
            self.log.warning("Dataset %s could not be deleted: %s", self._dataset_id, error)
        else:
            self.log.info("Dataset %s is deleted, because %s.", self._dataset_id, why)

    def _done(self, result: dict[str, Any], context: Context) -> dict[str, Any]:
        host, files = self.hook.account.base_url, (self.data, self.eval_data)
        emit(context, self.outlets, extra=result, datasets={result["id"]: result}, host=host)
        paths = [file for file in files if not hasattr(file, "__arrow_c_stream__")]
        self.record_lineage(self.hook, lineage_of_upload(result["id"], paths, host))
        return result

    def on_kill(self) -> None:
        """Delete the dataset if that was asked for; the task does not go on then.

        In the task's own thread, where Airflow calls this in a signal handler, it raises what ends the task: from 3.0
        on Airflow lets the task go on after that, which would wait for what is gone, or upload to the end.
        """
        if not self.delete_on_kill:
            return
        self._told_to_stop = True
        if self._running_in == threading.get_ident():
            raise _ToldToStop
        self._delete("the task was killed")


class _ToldToStop(BaseException):
    """Ends whatever the task does just now, also where every ``Exception`` counts as somebody else's."""


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else value
