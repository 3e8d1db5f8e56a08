"""Accounts: users, their roles, the libraries they see, and where else they log in."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError

from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.schema import libraries, user_identities, user_libraries, users

#: Roles, the mightiest first.
ROLES = ("admin", "user", "viewer")
#: Held while accounts are made or changed, so that two at once cannot remove the last admin ("MAP4USR").
_LOCK = 0x4D415034555352
_MAX_NAME = 100


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


def _query() -> Any:
    granted = select(func.array_agg(user_libraries.c.library_id)).where(user_libraries.c.user_id == users.c.id).scalar_subquery()
    return select(users, granted.label("granted"))


def _user(row: Any) -> User:
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


def get_user(conn: Connection, user_id: int) -> User | None:
    """Return an account by its number."""
    row = conn.execute(_query().where(users.c.id == user_id)).one_or_none()
    return None if row is None else _user(row)


def find_user(conn: Connection, name: str) -> tuple[User, str | None] | None:
    """Return an account by its name, whatever the case, and the hash of its password."""
    row = conn.execute(_query().where(func.lower(users.c.name) == name.strip().lower())).one_or_none()
    return None if row is None else (_user(row), row.password_hash)


def list_users(conn: Connection) -> list[User]:
    """Return all accounts by name."""
    return [_user(row) for row in conn.execute(_query().order_by(func.lower(users.c.name)))]


def has_users(conn: Connection) -> bool:
    """Return whether there is any account."""
    return conn.execute(select(users.c.id).limit(1)).first() is not None


def verify_nobody(conn: Connection) -> bool:
    """Return whether there is no account, and let nobody else make one until this transaction ends."""
    conn.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    return not has_users(conn)


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


def set_password(conn: Connection, user_id: int, password_hash: str, *, must_change: bool = False) -> None:
    """Give an account another password, which ends all its sessions and tokens."""
    values = {"password_hash": password_hash, "must_change_password": must_change, "epoch": users.c.epoch + 1}
    conn.execute(update(users).where(users.c.id == user_id).values(values))


def end_everything(conn: Connection, user_id: int) -> None:
    """End all sessions and tokens of an account."""
    conn.execute(update(users).where(users.c.id == user_id).values(epoch=users.c.epoch + 1))


def delete_user(conn: Connection, user_id: int) -> None:
    """Remove an account with its sessions and tokens. What it did stays, without its name.

    Raises
    ------
    StoreError
        When there is no such user, or no active admin would be left.
    """
    conn.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    _there(conn, user_id)
    conn.execute(text("UPDATE audit_log SET user_name = NULL, address = NULL WHERE user_id = :id"), {"id": user_id})
    conn.execute(text("UPDATE export_history SET user_id = NULL WHERE user_id = CAST(:id AS text)"), {"id": user_id})
    conn.execute(
        text(
            "UPDATE tracks t SET corrections = (SELECT jsonb_object_agg(key, CASE WHEN value->>'user_id' = CAST(:id AS text) "
            "THEN value - 'by' ELSE value END) FROM jsonb_each(t.corrections)) "
            "WHERE corrections <> '{}' AND id IN (SELECT track_id FROM track_edits WHERE user_id = :id)"
        ),
        {"id": user_id},
    )
    conn.execute(delete(users).where(users.c.id == user_id))
    _keep_an_admin(conn)


def seen(conn: Connection, user_id: int) -> None:
    """Note that a user was here; once a minute at most."""
    stale = users.c.last_seen_at.is_(None) | (users.c.last_seen_at < func.now() - text("interval '1 minute'"))
    conn.execute(update(users).where(users.c.id == user_id, stale).values(last_seen_at=func.now()))


def user_of_identity(conn: Connection, issuer: str, subject: str) -> User | None:
    """Return whose account an identity of an OpenID issuer is."""
    identity = select(user_identities.c.user_id).where(user_identities.c.issuer == issuer, user_identities.c.subject == subject)
    row = conn.execute(_query().where(users.c.id == identity.scalar_subquery())).one_or_none()
    return None if row is None else _user(row)


def add_identity(conn: Connection, user_id: int, issuer: str, subject: str) -> None:
    """Let an identity of an OpenID issuer log in as a user."""
    conn.execute(upsert(user_identities).values(user_id=user_id, issuer=issuer, subject=subject).on_conflict_do_nothing())


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
