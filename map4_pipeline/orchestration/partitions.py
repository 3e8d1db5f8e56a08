"""Partitions: one per directory of music, registered in bulk and in order, never deleted.

A range of partitions is contiguous in the order of registration, so new keys are added sorted. Keys of directories
that vanished stay: deleting and adding again would scatter the order.
"""

from collections.abc import Iterable

from dagster import DagsterInstance, DynamicPartitionsDefinition
from sqlalchemy import Engine

from map4_pipeline.store.directories import partition_keys_in_order

DIRECTORY = "directory"

directory_partitions = DynamicPartitionsDefinition(name=DIRECTORY)


def register_partitions(instance: DagsterInstance, engine: Engine) -> list[str]:
    """Tell Dagster about the directories it does not know yet; return all keys in Dagster's order."""
    known = list(instance.get_dynamic_partitions(DIRECTORY))
    present = set(known)
    with engine.connect() as conn:
        new = [key for key in partition_keys_in_order(conn) if key not in present]
    if new:
        instance.add_dynamic_partitions(DIRECTORY, new)
    return known + new


def stretches(keys: Iterable[str], order: list[str]) -> list[list[str]]:
    """Cut keys into runs of neighbours in the order of registration, each of which a range can cover."""
    position = {key: index for index, key in enumerate(order)}
    found: list[list[str]] = []
    last = -2
    for index, key in sorted((position[key], key) for key in keys):
        if index == last + 1:
            found[-1].append(key)
        else:
            found.append([key])
        last = index
    return found
