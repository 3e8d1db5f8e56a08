"""`map4 pause` and `map4 resume`: let everything rest, and go on."""

import click


@click.command()
@click.argument("reason", required=False, default="")
def pause(reason: str) -> None:
    """Let every run rest, whoever started it: what is in hand is finished and kept, nothing new is begun.

    It holds until `map4 resume`, also over restarts. Sensors launch nothing meanwhile.
    """
    from map4_pipeline.settings import settings
    from map4_pipeline.store import controls
    from map4_pipeline.store.database import open_database

    engine = open_database(settings())
    with engine.begin() as conn:
        controls.pause(conn, reason)
    engine.dispose()
    click.echo("Paused. Runs rest after the files they have in hand; `map4 resume` goes on.")


@click.command()
def resume() -> None:
    """Let everything go on that `map4 pause` stopped."""
    from map4_pipeline.settings import settings
    from map4_pipeline.store import controls
    from map4_pipeline.store.database import open_database

    engine = open_database(settings())
    with engine.begin() as conn:
        was_paused = controls.resume(conn)
    engine.dispose()
    click.echo("Going on." if was_paused else "Nothing was paused.")
