"""The ledger of what AI annotations cost: reserved before a request, booked after it, within a day's and a run's budget.

Two processes cannot pass a limit together: a reservation is one conditional UPDATE per budget, and PostgreSQL's row locks let one
after the other. Days are UTC. Both budgets are locked in the same order (day, run), so nobody waits in a circle.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Engine, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from map4_pipeline.annotate.manager import BudgetError
from map4_pipeline.annotate.pricing import Usage
from map4_pipeline.store.schema import ai_budgets, ai_spending

#: A request that has been on its way for so long is not coming back: its process is gone.
ABANDONED_AFTER = "1 hour"


@dataclass(frozen=True, slots=True)
class Budget:
    """Hard limits in US dollars; `per_run` None: only the day's."""

    per_day: Decimal
    per_run: Decimal | None = None


@dataclass(frozen=True, slots=True)
class LedgerPurse:
    """A run's purse on the ledger (`annotate.manager.Purse`); used by all threads of the run."""

    engine: Engine
    run_id: str
    budget: Budget

    def reserve(self, provider: str, model: str, tracks: int, amount: Decimal, kind: str = "request") -> int:
        """Reserve an amount.

        Raises
        ------
        BudgetError
        """
        with self.engine.begin() as conn:
            return reserve(conn, self.run_id, self.budget, provider, model, tracks, amount, kind)

    def settle(self, reservation: int, cost: Decimal, usage: Usage) -> None:
        """Book what it cost in the reservation's place."""
        with self.engine.begin() as conn:
            book(conn, reservation, "settled", cost, usage=usage)

    def release(self, reservation: int, reason: str) -> None:
        """Book nothing."""
        with self.engine.begin() as conn:
            book(conn, reservation, "released", Decimal(0), note=reason)

    def keep(self, reservation: int, reason: str) -> None:
        """Leave it booked at the maximum."""
        with self.engine.begin() as conn:
            book(conn, reservation, "lost", None, note=reason)


def reserve(
    conn: Connection, run_id: str, budget: Budget, provider: str, model: str, tracks: int, amount: Decimal, kind: str = "request"
) -> int:
    """Reserve an amount in both budgets, in the transaction of `conn`; return the reservation's id.

    Raises
    ------
    BudgetError
        When a limit would be passed; the transaction has to be rolled back.
    """
    today: date = conn.execute(text("SELECT (now() AT TIME ZONE 'UTC')::date")).scalar_one()
    limits = [(f"day:{today}", budget.per_day, "MAP4_AI_BUDGET_USD_PER_DAY")]
    if budget.per_run is not None:
        limits.append((f"run:{run_id}", budget.per_run, "the run's budget"))
    else:
        limits.append((f"run:{run_id}", budget.per_day, "MAP4_AI_BUDGET_USD_PER_DAY"))
    for scope, limit, name in limits:
        conn.execute(insert(ai_budgets).values(scope=scope).on_conflict_do_nothing())
        booked = ai_budgets.c.booked_usd
        taken = conn.execute(
            update(ai_budgets).where(ai_budgets.c.scope == scope, booked + amount <= limit).values(booked_usd=booked + amount)
        ).rowcount
        if not taken:
            so_far = conn.execute(select(booked).where(ai_budgets.c.scope == scope)).scalar_one()
            raise BudgetError(
                f"The budget is used up: the next request may cost {dollars(amount)}, and {dollars(so_far)} of {dollars(limit)} "
                f"({name}) are booked."
            )
    row = insert(ai_spending).values(
        run_id=run_id,
        day=today,
        kind=kind,
        provider=provider,
        model=model,
        tracks=tracks,
        reserved_usd=amount,
        booked_usd=amount,
    )
    return int(conn.execute(row.returning(ai_spending.c.id)).scalar_one())


def book(
    conn: Connection, reservation: int, status: str, cost: Decimal | None, *, usage: Usage | None = None, note: str | None = None
) -> bool:
    """End a reservation; `cost` None leaves it booked as it is. Return False when it had ended before."""
    s = ai_spending.c
    row = conn.execute(select(s.run_id, s.day, s.booked_usd, s.status).where(s.id == reservation).with_for_update()).one()
    if row.status != "reserved":
        return False
    booked = row.booked_usd if cost is None else cost
    values: dict[str, Any] = {"status": status, "booked_usd": booked, "settled_at": func.now(), "note": note}
    if usage is not None:
        values |= {"input_tokens": usage.input, "output_tokens": usage.output}
    conn.execute(update(ai_spending).where(s.id == reservation).values(**values))
    if booked != row.booked_usd:
        for scope in (f"day:{row.day}", f"run:{row.run_id}"):
            change = ai_budgets.c.booked_usd + (booked - row.booked_usd)
            conn.execute(update(ai_budgets).where(ai_budgets.c.scope == scope).values(booked_usd=change))
    return True


def close_abandoned(conn: Connection) -> int:
    """Mark requests of processes that ended in the middle as lost: they stay booked. Return how many."""
    old = text(f"created_at < now() - interval '{ABANDONED_AFTER}'")
    note = "the process ended while the request was on its way"
    s = ai_spending.c
    statement = update(ai_spending).where(s.status == "reserved", s.kind == "request", old).values(status="lost", note=note)
    return conn.execute(statement.values(settled_at=func.now())).rowcount


def booked_today(conn: Connection) -> Decimal:
    """Return what is booked for today (UTC)."""
    today = text("'day:' || (now() AT TIME ZONE 'UTC')::date")
    found = conn.execute(select(ai_budgets.c.booked_usd).where(ai_budgets.c.scope == today)).scalar()
    return Decimal(0) if found is None else found


def dollars(amount: Decimal) -> str:
    """Return an amount for people: two digits that say something, at least cents."""
    if amount == 0:
        return "$0"
    digits = max(2, 1 - amount.copy_abs().adjusted())
    return f"${amount:,.{min(digits, 8)}f}"
