"""`map4 users`: accounts of the API and the web page, for whoever has the database."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")


@click.group()
def users() -> None:
    """Accounts of the API and the web page."""


@users.command("list")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
def list_(as_json: bool) -> None:
    """List the accounts."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import printable
    from map4_pipeline.store.accounts import list_users

    for user in _within(list_users):
        granted = "all" if user.libraries is None else ", ".join(map(str, sorted(user.libraries))) or "none"
        if as_json:
            libraries = None if user.libraries is None else sorted(user.libraries)
            facts = {"id": user.id, "name": user.name, "role": user.role, "active": user.active, "libraries": libraries}
            lines.write_json(facts | {"last_seen_at": user.last_seen_at and user.last_seen_at.isoformat()})
        else:
            state = "" if user.active else ", inactive"
            click.echo(f"{user.id:>4}  {printable(user.name):<24} {user.role:<7} libraries: {granted}{state}")


@users.command()
@click.argument("name")
@click.option("--role", type=click.Choice(["admin", "user", "viewer"]), default="viewer", show_default=True)
@click.option("--library", "slugs", multiple=True, help="A library that this user sees, by its slug; repeatable. Default: all.")
def add(name: str, role: str, slugs: tuple[str, ...]) -> None:
    """Make an account and show the password for the first login, this once."""
    from map4_pipeline.api.passwords import hash_password, one_time_password
    from map4_pipeline.store.accounts import create_user

    password = one_time_password()
    hashed = hash_password(password)

    def make(conn: "Connection") -> object:
        ids = _library_ids(conn, slugs) if slugs else None
        return create_user(conn, name, role, password_hash=hashed, library_ids=ids, must_change_password=True)

    _within(make, action="user made", target=name)
    click.echo(f"Password for the first login of {name}: {password}")


@users.command()
@click.argument("name")
def password(name: str) -> None:
    """Give an account a password for the next login only, and show it. Its sessions and tokens end."""
    from map4_pipeline.api.passwords import hash_password, one_time_password
    from map4_pipeline.store.accounts import set_password

    new = one_time_password()
    hashed = hash_password(new)
    _within(lambda conn: set_password(conn, _user_id(conn, name), hashed, must_change=True), action="password reset", target=name)
    click.echo(f"Password for the next login of {name}: {new}")


@users.command()
@click.argument("name")
@click.option("--role", type=click.Choice(["admin", "user", "viewer"]))
@click.option("--active/--inactive", default=None, help="Whether the account can be used.")
@click.option("--library", "slugs", multiple=True, help="Exactly these libraries, by slug; repeatable.")
@click.option("--all-libraries", is_flag=True, help="All libraries, also later ones.")
def change(name: str, role: str | None, active: bool | None, slugs: tuple[str, ...], all_libraries: bool) -> None:
    """Change an account; what is not given stays."""
    from map4_pipeline.store.accounts import update_user

    if all_libraries and slugs:
        raise click.UsageError("Give --library or --all-libraries, not both.")

    def update(conn: "Connection") -> object:
        ids = None if all_libraries else _library_ids(conn, slugs) if slugs else ""
        return update_user(conn, _user_id(conn, name), role=role, active=active, library_ids=ids)

    _within(update, action="user changed", target=name)


@users.command()
@click.argument("name")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="A file. Default: standard output.")
def export(name: str, output: Path | None) -> None:
    """Write all that is held about a user, as JSON."""
    import json

    from map4_pipeline.store.privacy import export_user

    found = _within(lambda conn: export_user(conn, _user_id(conn, name)), action="user data exported", target=name)
    said = json.dumps(found, ensure_ascii=False, indent=2)
    if output is None:
        click.echo(said)
        return
    try:
        # Nobody else may read it, whatever this user's other files are like.
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(said + "\n")
    except OSError as error:
        raise click.UsageError(f"{output} cannot be written: {error.strerror}.") from None
    click.echo(f"What is held about {name} is in {output}.")


@users.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(name: str, yes: bool) -> None:
    """Erase an account and what is held about its user. Who did what stays, under a pseudonym."""
    from map4_pipeline.settings import settings
    from map4_pipeline.store.privacy import erase_user

    if not yes:
        click.confirm(f"Erase {name}: account, sessions, tokens, jobs, and the name wherever it stands?", abort=True)
    erased = _within(lambda conn: erase_user(conn, _user_id(conn, name)), action="user erased")
    for job_id in erased.job_ids:
        for path in (settings().home / "exports" / "jobs").glob(f"{job_id}.*"):
            path.unlink(missing_ok=True)
    click.echo(f"Erased. What had to stay is under {erased.alias}. Backups made before still hold the name.")


@users.command("rotate-keys")
@click.option("--forget", is_flag=True, help="Earlier keys verify nothing any more: programs have to log in again.")
def rotate_keys(forget: bool) -> None:
    """Sign access tokens with a new key from now on."""
    from map4_pipeline.settings import settings
    from map4_pipeline.store import tokens
    from map4_pipeline.store.cipher import open_cipher

    kid = _within(lambda conn: tokens.rotate_keys(conn, open_cipher(settings()), forget=forget), action="keys rotated")
    click.echo(f"Access tokens are signed with the key {kid} within a minute.")


def _within(work: "Callable[[Connection], T]", action: str | None = None, target: str | None = None) -> T:
    """Do work in one transaction, noted in the audit log when it is an action."""
    from map4_pipeline.settings import settings
    from map4_pipeline.store import audit
    from map4_pipeline.store.database import open_database

    engine = open_database(settings())
    try:
        with engine.begin() as conn:
            found = work(conn)
            if action is not None:
                audit.note(conn, action, target=target, detail={"by": "map4 users"})
            return found
    finally:
        engine.dispose()


def _user_id(conn: "Connection", name: str) -> int:
    from map4_pipeline.store.accounts import find_user
    from map4_pipeline.store.errors import StoreError

    found = find_user(conn, name)
    if found is None:
        raise StoreError(f"There is no user {name!r}. `map4 users list` shows them.")
    return found[0].id


def _library_ids(conn: "Connection", slugs: tuple[str, ...]) -> list[int]:
    from map4_pipeline.store.errors import StoreError
    from map4_pipeline.store.libraries import all_libraries

    known = {library.slug: library.id for library in all_libraries(conn)}
    for slug in slugs:
        if slug not in known:
            raise StoreError(f"There is no library {slug!r}. Libraries: {', '.join(known) or 'none'}.")
    return [known[slug] for slug in slugs]
