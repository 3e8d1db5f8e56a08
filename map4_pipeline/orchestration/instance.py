"""Dagster's home and instance, made from the repository's dagster.yaml without anybody's doing."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from map4_pipeline.settings import Settings
from map4_pipeline.store.errors import InfrastructureError

if TYPE_CHECKING:
    from dagster import DagsterInstance


def instance_template() -> Path:
    """Return the dagster.yaml that homes are made from: the repository's, else the package's copy."""
    here = Path(__file__).resolve()
    checkout = here.parents[2] / "dagster.yaml"
    return checkout if checkout.is_file() else here.with_name("dagster.yaml")


def prepare_home(settings: Settings) -> Path:
    """Make Dagster's home and point this process (and its children) at it.

    A dagster.yaml that a user changed is left alone; one that MAP4 wrote follows the template. With `DAGSTER_HOME`
    set, that home is used as it is.
    """
    own = os.environ.get("DAGSTER_HOME")
    if own and Path(own) != settings.dagster_home:
        return Path(own)
    home = settings.dagster_home
    try:
        home.mkdir(parents=True, exist_ok=True)
        target, written = home / "dagster.yaml", home / ".dagster.yaml.map4"
        untouched = not target.exists() or (written.exists() and target.read_bytes() == written.read_bytes())
        template = instance_template()
        if untouched and (not target.exists() or target.read_bytes() != template.read_bytes()):
            shutil.copyfile(template, target)
            shutil.copyfile(template, written)
    except OSError as error:
        raise InfrastructureError(
            f"Dagster's home {home} cannot be written ({error.strerror}). Set MAP4_HOME to a folder that can."
        ) from None
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    return home


def open_instance(settings: Settings, *, captures: bool = True) -> "DagsterInstance":
    """Return the Dagster instance that `map4 up` shows.

    Parameters
    ----------
    captures : bool
        False leaves what runs of this process print where it goes: keeping it starts four processes a run. A home whose
        dagster.yaml says where it is to be kept has it kept all the same.
    """
    from dagster import DagsterInstance

    home = prepare_home(settings)
    written = home / "dagster.yaml"
    if captures or not written.is_file() or "compute_logs" in written.read_text(encoding="utf-8"):
        return DagsterInstance.get()
    nowhere = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    return DagsterInstance.local_temp(str(home), overrides={"compute_logs": nowhere})
