"""Dagster's home and instance, made from the repository's dagster.yaml without anybody's doing."""

import json
import os
import shutil
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from map4_pipeline.settings import Settings
from map4_pipeline.store.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster import DagsterInstance


#: The name of MAP4's code location, in every workspace.
LOCATION = "map4"
_MAX_SOCKET_PATH = 100


def instance_template() -> Path:
    """Return the dagster.yaml that homes are made from: the repository's, else the package's copy."""
    here = Path(__file__).resolve()
    checkout = here.parents[2] / "dagster.yaml"
    return checkout if checkout.is_file() else here.with_name("dagster.yaml")


def prepare_home(settings: Settings) -> Path:
    """Make Dagster's home and point this process (and its children) at it.

    A dagster.yaml that a user changed is left alone; one that MAP4 wrote follows the template. A workspace.yaml is there from
    the start, so that runs of `map4 ingest` know the code location that `map4 up` is going to have (`storage`). With
    `DAGSTER_HOME` set, that home is used as it is.
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
        if sys.platform != "win32" and not (home / "workspace.yaml").exists():
            write_workspace(home, {"socket": str(code_server_socket(home))})
    except OSError as error:
        raise InfrastructureError(
            f"Dagster's home {home} cannot be written ({error.strerror}). Set MAP4_HOME to a folder that can."
        ) from None
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    return home


def code_server_socket(home: Path) -> Path:
    """Return where the code server of `map4 up` listens: the same at every start, so that what a killed one left open is known.

    A path that is too long for a socket is replaced by one in a folder of its own, which whoever listens makes.
    """
    name = home / ".map4-id"
    if not name.exists():
        name.write_text(uuid.uuid4().hex[:12])
    identity = name.read_text().strip()
    path = home / f"code-{identity}.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        return path
    return Path(tempfile.gettempdir()) / f"map4-{os.getuid()}-{identity}" / "code.sock"


def write_workspace(home: Path, server: "Mapping[str, str | int]") -> Path:
    """Write down where the code server is, as Dagster's services read it; return the file.

    Parameters
    ----------
    server : mapping
        `socket`, or `host` and `port`.
    """
    path = home / "workspace.yaml"
    lines = [f"      {name}: {json.dumps(value)}\n" for name, value in {**server, "location_name": LOCATION}.items()]
    path.write_text("load_from:\n  - grpc_server:\n" + "".join(lines), encoding="utf-8")
    return path


def open_instance(settings: Settings, *, captures: bool = True) -> "DagsterInstance":
    """Return the Dagster instance that `map4 up` shows.

    Parameters
    ----------
    captures : bool
        False leaves what runs of this process print where it goes, on the user's screen. A home whose dagster.yaml somebody
        else wrote, and which says where it is to be kept, has it kept all the same.
    """
    from dagster import DagsterInstance

    home = prepare_home(settings)
    found, written = home / "dagster.yaml", home / ".dagster.yaml.map4"
    if not found.is_file():
        return DagsterInstance.get()
    is_ours = written.is_file() and written.read_bytes() == found.read_bytes()
    if captures or (not is_ours and "compute_logs" in found.read_text(encoding="utf-8")):
        return DagsterInstance.get()
    nowhere = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    return DagsterInstance.local_temp(str(home), overrides={"compute_logs": nowhere})
