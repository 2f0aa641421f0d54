"""The button on a task's page that leads to Cohere's dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, TaskInstanceKey

#: Cohere documents this page with the list of datasets, but no address for a single one.
DASHBOARD_URL = "https://dashboard.cohere.com/datasets"


class CohereDatasetsLink(BaseOperatorLink):
    """Leads to the list of datasets in Cohere's dashboard, whatever the task's connection is.

    Airflow 3 asks for the link when the task ends, Airflow 2 when the page is shown; neither needs the database here.
    """

    name = "Cohere dashboard"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address of the dashboard's list.

        :param operator: the task's operator, which makes no difference.
        :param ti_key: the task instance, which makes none either.
        """
        return DASHBOARD_URL
