"""Accounts: users, their roles, the libraries they see, and where else they log in."""

import itertools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError

from map4_pipeline.store.database import storable_text
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.marks import cut, read_mark
from map4_pipeline.store.schema import api_tokens, libraries, user_identities, user_libraries, users

#: Roles, the mightiest first.
ROLES = ("admin", "user", "viewer")
#: Held while accounts are made or changed, so that two at once cannot remove the last admin ("MAP4USR").
_LOCK = 0x4D415034555352
_MAX_NAME = 100
#: A password that somebody else made is good for so many days, and for the first login only.
ONE_TIME_DAYS = 7
#: A user's presence is written down once in so many seconds.
_SEEN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class User:
    """An account.

    Attributes
    ----------
    role : str
        "admin", "user" or "viewer".
    libraries : frozenset of int, or None
        Ids of the libraries granted; None: all of them.
    epoch : int
        Sessions and tokens of an earlier one have ended.
    """

    id: int
    name: str
    email: str | None
    role: str
    active: bool
    libraries: frozenset[int] | None
    must_change_password: bool
    has_password: bool
    epoch: int
    created_at: datetime
    last_seen_at: datetime | None


def user_query() -> Any:
    """Return the query of accounts, for `user_of`."""
    granted = select(func.array_agg(user_libraries.c.library_id)).where(user_libraries.c.user_id == users.c.id).scalar_subquery()
    return select(users, granted.label("granted"))


def user_of(row: Any) -> User:
    """Return a row of `user_query` as an account."""
    # An admin sees everything: who may grant himself a library has it.
    everything = row.all_libraries or row.role == "admin"
    return User(
        id=row.id,
        name=row.name,
        email=row.email,
        role=row.role,
        active=row.active,
        libraries=None if everything else frozenset(row.granted or ()),
        must_change_password=row.must_change_password,
        has_password=row.password_hash is not None,
        epoch=row.epoch,
        created_at=row.created_at,
        last_seen_at=row.last_seen_at,
    )


_USER = user_query().where(users.c.id == bindparam("user"))


def get_user(conn: Connection, user_id: int) -> User | None:
    """Return an account by its number."""
    row = conn.execute(_USER, {"user": user_id}).one_or_none()
    return None if row is None else user_of(row)


def find_user(conn: Connection, name: str) -> tuple[User, str | None] | None:
    """Return an account by its name, whatever the case, and the hash of its password; None for one that has run out."""
    ran_out = func.coalesce(users.c.password_expires_at < func.now(), False).label("ran_out")
    # PostgreSQL and Python differ in the small letters of some: of an I with a dot, of a sigma at a word's end.
    query = user_query().add_columns(ran_out).where(func.lower(users.c.name) == func.lower(storable_text(name.strip())))
    row = conn.execute(query).one_or_none()
    return None if row is None else (user_of(row), None if row.ran_out else row.password_hash)


def list_users(conn: Connection) -> list[User]:
    """Return all accounts by name."""
    return user_page(conn, None)[0]


def user_page(conn: Connection, limit: int | None, after: str | None = None) -> tuple[list[User], str | None]:
    """Return a page of the accounts by name, and the mark of the next page (None: this was the last).

    Raises
    ------
    MarkError
        When `after` is not the mark of such a page.
    """
    by = func.lower(users.c.name)
    query = user_query().add_columns(by.label("by")).order_by(by).limit(None if limit is None else limit + 1)
    if after is not None:
        query = query.where(by > read_mark(after, str)[0])
    page, following = cut(conn.execute(query).all(), limit, lambda row: (row.by,))
    return [user_of(row) for row in page], following


def has_users(conn: Connection) -> bool:
    """Return whether there is any account."""
    return conn.execute(select(users.c.id).limit(1)).first() is not None


def verify_nobody(conn: Connection) -> bool:
    """Return whether there is no account, and let nobody else make one until this transaction ends."""
    conn.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    return not has_users(conn)


def lock_user(conn: Connection, user_id: int) -> None:
    """Let nobody else change an account before the end of the transaction."""
    conn.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())


def create_user(
    conn: Connection,
    name: str,
    role: str,
    *,
    password_hash: str | None = None,
    email: str | None = None,
    library_ids: Collection[int] | None = (),
    must_change_password: bool = False,
) -> User:
    """Make an account.

    Parameters
    ----------
    library_ids : collection of int, or None
        Libraries granted; None: all, also later ones.

    Raises
    ------
    StoreError
        When the name is taken or cannot be one, or a library does not exist.
    """
    wanted = name.strip()
    if not wanted or len(wanted) > _MAX_NAME or not wanted.isprintable():
        raise StoreError(f"A user's name has 1 to {_MAX_NAME} visible characters.")
    _known_role(role)
    values = {
        "name": wanted,
        "role": role,
        "password_hash": password_hash,
        "email": email,
        "all_libraries": library_ids is None,
        "must_change_password": must_change_password,
        "password_expires_at": _one_time_until() if must_change_password else None,
    }
    try:
        with conn.begin_nested():
            user_id = int(conn.execute(insert(users).values(values).returning(users.c.id)).scalar_one())
    except IntegrityError:
        raise StoreError(f"There is a user {wanted!r} already.") from None
    if library_ids:
        _grant(conn, user_id, library_ids)
    return _there(conn, user_id)


def update_user(
    conn: Connection,
    user_id: int,
    *,
    role: str | None = None,
    active: bool | None = None,
    email: str | None = None,
    library_ids: Collection[int] | str | None = "",
) -> User:
    """Change an account; what is not given stays. Another role, and being put out of use, end its sessions and tokens.

    Parameters
    ----------
    library_ids : collection of int, None or ""
        None: all libraries; "" (the default): as it is.

    Raises
    ------
    StoreError
        When there is no such user, or no active admin would be left.
    """
    conn.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    before = _there(conn, user_id)
    values: dict[str, Any] = {}
    if role is not None:
        _known_role(role)
        values["role"] = role
    if active is not None:
        values["active"] = active
    if email is not None:
        values["email"] = email or None
    if not isinstance(library_ids, str):
        values["all_libraries"] = library_ids is None
        conn.execute(delete(user_libraries).where(user_libraries.c.user_id == user_id))
        _grant(conn, user_id, library_ids or ())
    if values:
        if (role is not None and role != before.role) or active is False:
            values["epoch"] = users.c.epoch + 1
        conn.execute(update(users).where(users.c.id == user_id).values(values))
    _keep_an_admin(conn)
    return _there(conn, user_id)


def set_password(
    conn: Connection, user_id: int, password_hash: str, *, must_change: bool = False, keep_tokens: bool = False
) -> None:
    """Give an account another password, which ends all its sessions and tokens.

    Parameters
    ----------
    must_change : bool
        It is for the first login only, and runs out in a week.
    keep_tokens : bool
        Named tokens go on: whoever took the account over may have made one.
    """
    values = {
        "password_hash": password_hash,
        "must_change_password": must_change,
        "password_expires_at": _one_time_until() if must_change else None,
        "epoch": users.c.epoch + 1,
    }
    conn.execute(update(users).where(users.c.id == user_id).values(values))
    if not keep_tokens:
        _revoke_tokens(conn, user_id)


def end_everything(conn: Connection, user_id: int, *, tokens: bool = False) -> None:
    """End all sessions, access and refresh tokens of an account; with `tokens` its named ones too."""
    conn.execute(update(users).where(users.c.id == user_id).values(epoch=users.c.epoch + 1))
    if tokens:
        _revoke_tokens(conn, user_id)


def _revoke_tokens(conn: Connection, user_id: int) -> None:
    mine = (api_tokens.c.user_id == user_id) & api_tokens.c.revoked_at.is_(None)
    conn.execute(update(api_tokens).where(mine).values(revoked_at=func.now()))


def _one_time_until() -> Any:
    return func.now() + text(f"interval '{ONE_TIME_DAYS} days'")


def delete_user(conn: Connection, user_id: int) -> None:
    """Remove an account with its sessions and tokens; `privacy.erase_user` sees to everything else that knows the user.

    Raises
    ------
    StoreError
        When there is no such user, or no active admin would be left.
    """
    conn.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    _there(conn, user_id)
    conn.execute(delete(users).where(users.c.id == user_id))
    _keep_an_admin(conn)


def seen(conn: Connection, user: User) -> None:
    """Note that a user was here; once a minute at most, so that most requests write nothing and ask nothing."""
    if user.last_seen_at is not None and abs((datetime.now(UTC) - user.last_seen_at).total_seconds()) < _SEEN_SECONDS:
        return
    user_id = user.id
    stale = users.c.last_seen_at.is_(None) | (users.c.last_seen_at < func.now() - text("interval '1 minute'"))
    conn.execute(update(users).where(users.c.id == user_id, stale).values(last_seen_at=func.now()))


def user_of_identity(conn: Connection, issuer: str, subject: str) -> User | None:
    """Return whose account an identity of an OpenID issuer is."""
    identity = select(user_identities.c.user_id).where(user_identities.c.issuer == issuer, user_identities.c.subject == subject)
    row = conn.execute(user_query().where(users.c.id == identity.scalar_subquery())).one_or_none()
    return None if row is None else user_of(row)


def add_identity(conn: Connection, user_id: int, issuer: str, subject: str, *, provider: str = "", label: str = "") -> None:
    """Let an identity of an OpenID issuer log in as a user.

    Raises
    ------
    StoreError
        When it logs in as another user already.
    """
    values = {"user_id": user_id, "issuer": issuer, "subject": subject, "provider": provider, "label": label}
    conn.execute(upsert(user_identities).values(values).on_conflict_do_nothing())
    mine = user_of_identity(conn, issuer, subject)
    if mine is None or mine.id != user_id:
        raise StoreError("This login is connected with another account here. Disconnect it there first.")


def identities_of(conn: Connection, user_id: int) -> list[dict[str, Any]]:
    """Return the identities that log in as a user: id, provider, issuer, label, created_at."""
    i = user_identities.c
    query = select(i.id, i.provider, i.issuer, i.label, i.created_at).where(i.user_id == user_id).order_by(i.id)
    return [dict(row) for row in conn.execute(query).mappings()]


def remove_identity(conn: Connection, user_id: int, identity_id: int) -> str | None:
    """Let an identity log in as a user no more; return its provider, None when there is no such one.

    Raises
    ------
    StoreError
        When it is the only way in.
    """
    # Two at once could remove the last two.
    conn.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())
    mine = identities_of(conn, user_id)
    found = next((one for one in mine if one["id"] == identity_id), None)
    if found is None:
        return None
    if len(mine) == 1 and not _there(conn, user_id).has_password:
        raise StoreError("This is the only way into the account. Have an admin give you a password first.")
    conn.execute(delete(user_identities).where(user_identities.c.id == identity_id))
    return str(found["provider"])


def free_name(conn: Connection, wanted: str) -> str:
    """Return a name that no account has, like the one wanted: of plain letters, so that none looks like another's."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted.partition("@")[0]).strip("-.")[:40] or "user"
    taken = set(conn.scalars(select(func.lower(users.c.name)).where(func.lower(users.c.name).startswith(plain.lower()))))
    names = itertools.chain([plain], (f"{plain}-{number}" for number in itertools.count(2)))
    return next(name for name in names if name.lower() not in taken)


def _there(conn: Connection, user_id: int) -> User:
    user = get_user(conn, user_id)
    if user is None:
        raise StoreError(f"There is no user {user_id}.")
    return user


def _known_role(role: str) -> None:
    if role not in ROLES:
        raise StoreError(f"There is no role {role!r}. Roles: {', '.join(ROLES)}.")


def _grant(conn: Connection, user_id: int, library_ids: Collection[int]) -> None:
    wanted: Sequence[int] = sorted(set(library_ids))
    known = set(conn.execute(select(libraries.c.id).where(libraries.c.id.in_(wanted))).scalars())
    unknown = [id_ for id_ in wanted if id_ not in known]
    if unknown:
        raise StoreError(f"There is no library {unknown[0]}.")
    if wanted:
        conn.execute(insert(user_libraries), [{"user_id": user_id, "library_id": id_} for id_ in wanted])


def _keep_an_admin(conn: Connection) -> None:
    if conn.execute(select(users.c.id).where(users.c.role == "admin", users.c.active).limit(1)).first() is None:
        raise StoreError("Somebody has to be an active admin. Make another one first.")
