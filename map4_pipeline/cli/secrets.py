"""`map4 secrets`: settings that are secret, kept encrypted in MAP4_HOME with the key in MAP4_SECRET_KEY."""

import sys

import click


@click.group()
def secrets() -> None:
    """Secret settings, kept encrypted with MAP4_SECRET_KEY. What the environment says goes before."""


@secrets.command("set")
@click.argument("name")
def set_(name: str) -> None:
    """Keep a setting: OPENAI_API_KEY, MAP4_OIDC_CLIENT_SECRET, ... Its value is asked for, or read from standard input."""
    from map4_pipeline.sealing import SealError, write_sealed
    from map4_pipeline.settings import secret_names, settings

    known = secret_names()
    if name not in known:
        raise click.UsageError(f"{name} is no secret setting. There are: {', '.join(known)}.")
    value = click.prompt(name, hide_input=True) if sys.stdin.isatty() else sys.stdin.read().strip()
    if not value:
        raise click.UsageError("There is no value: type it when asked, or send it through standard input.")
    configured = settings()
    key = None if configured.secret_key is None else configured.secret_key.get_secret_value()
    try:
        changed = write_sealed(configured.home, key, name, value)
    except SealError as error:
        raise click.UsageError(f"{error}.") from None
    click.echo(f"{name} is {'changed' if changed else 'kept'}, encrypted.")


@secrets.command("list")
def list_() -> None:
    """Name the settings that are kept; never their values."""
    from map4_pipeline.sealing import sealed_names
    from map4_pipeline.settings import settings

    for name in sealed_names(settings().home):
        click.echo(name)


@secrets.command()
@click.argument("name")
def remove(name: str) -> None:
    """Keep a setting no longer."""
    from map4_pipeline.sealing import write_sealed
    from map4_pipeline.settings import settings

    if not write_sealed(settings().home, None, name, None):
        raise click.UsageError(f"No setting {name} is kept.")
    click.echo(f"{name} is removed.")
