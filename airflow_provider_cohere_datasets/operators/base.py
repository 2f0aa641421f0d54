"""What all operators of this provider share: a connection and how patient it is."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.hooks.retries import RetryPolicyMixin
from airflow_provider_cohere_datasets.lineage.datasets import LineageMixin
from airflow_provider_cohere_datasets.links.datasets import CohereDatasetsLink

if TYPE_CHECKING:
    from collections.abc import Mapping

    import jinja2
    from airflow.providers.common.compat.sdk import Context


class CohereDatasetsOperator(RetryPolicyMixin, LineageMixin, BaseOperator):
    """The base of the operators.

    :param conn_id: the connection, see :class:`~airflow_provider_cohere_datasets.hooks.datasets.CohereDatasetsHook`.
    :param request_policy: tries and deadlines that win over the connection's extra, by name.
    """

    template_fields: tuple[str, ...] = ("conn_id",)
    ui_color = "#f5f0ea"
    operator_extra_links = (CohereDatasetsLink(),)

    def __init__(
        self,
        *,
        conn_id: str = CohereDatasetsHook.default_conn_name,
        request_policy: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.request_policy = request_policy

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render a template, also one in a path of :mod:`pathlib`, which Airflow leaves as it is."""
        if isinstance(content, os.PathLike):
            from airflow.providers.common.compat.sdk import ObjectStoragePath

            # Airflow renders its own.
            if not isinstance(content, ObjectStoragePath) and rendered_later(os.fspath(content)):
                content = os.fspath(content)
        return super().render_template(content, context, jinja_env, seen_oids)

    @cached_property
    def hook(self) -> CohereDatasetsHook:
        """The hook on the connection."""
        return CohereDatasetsHook(self.conn_id, request_policy=self.request_policy)


def rendered_later(value: Any) -> bool:
    """Return whether a value is a template, or the result of another task."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, list | tuple | set):
        return any(rendered_later(item) for item in value)
    return hasattr(value, "resolve") or callable(value)  # Airflow calls it when it renders.
