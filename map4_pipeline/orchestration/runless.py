"""Materializations without a run: what the resident worker did to a partition, told to Dagster.

The UI shows them beside those of runs, and what is downstream follows them (`assets.common`).
"""

from dagster import AssetMaterialization, DagsterInstance, MetadataValue

from map4_pipeline.library.ledger import Ledger
from map4_pipeline.orchestration.metadata import ledger_metadata
from map4_pipeline.orchestration.partitions import DIRECTORY
from map4_pipeline.orchestration.refresh import PARTITIONED


def report_single(instance: DagsterInstance, partition_key: str, ledger: Ledger, file_path: str) -> None:
    """Tell Dagster that a directory's assets are new because one file of it was brought up to date.

    Parameters
    ----------
    ledger : Ledger
        Of that file.
    file_path : str
        As MAP4 writes it.
    """
    # An asset's events of a partition that Dagster does not know would be shown nowhere.
    if not instance.has_dynamic_partition(DIRECTORY, partition_key):
        instance.add_dynamic_partitions(DIRECTORY, [partition_key])
    metadata = {**ledger_metadata(ledger), "file": MetadataValue.text(file_path), "by": MetadataValue.text("resident worker")}
    for key in PARTITIONED:
        instance.report_runless_asset_event(AssetMaterialization(key, partition=partition_key, metadata=metadata))
