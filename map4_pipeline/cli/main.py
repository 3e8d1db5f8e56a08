"""The program `map4`: its commands by name, loaded when they are called, and its exit codes.

Exit codes: 0 all well, 1 some files failed, 2 wrong use, 3 the infrastructure failed or a guard stopped the run.
"""

import contextlib
import importlib
import os
import signal
import sys

import click

from map4_pipeline import __version__
from map4_pipeline.cli import garbage

#: Command name -> (module, attribute, one line for `map4 --help`).
COMMANDS = {
    "ingest": ("map4_pipeline.cli.ingest", "ingest", "Register folders of music and bring the library up to date."),
    "up": ("map4_pipeline.cli.up", "up", "Start the Dagster UI and the daemon on the same library."),
    "analyze": ("map4_pipeline.cli.analyze", "analyze", "Analyse files without a database."),
    "evaluate": ("map4_pipeline.cli.evaluate", "evaluate", "Score tempo and key against labels of your own."),
    "status": ("map4_pipeline.cli.status", "status", "Show the ledger of the last scan and the state of the tracks."),
    "tracks": ("map4_pipeline.cli.tracks", "tracks", "List tracks."),
    "search": ("map4_pipeline.cli.search", "search", "Find tracks by words and by what was measured."),
    "similar": ("map4_pipeline.cli.similar", "similar", "Find what is like a track, or mixes into it."),
    "compare": ("map4_pipeline.cli.compare", "compare", "Compare tracks and find the order in which they mix best."),
    "playlist": ("map4_pipeline.cli.playlist", "playlist", "Build sets that mix well; list, show and edit playlists."),
    "duplicates": ("map4_pipeline.cli.duplicates", "duplicates", "What the library has more than once; decide what to keep."),
    "annotate": ("map4_pipeline.cli.annotate", "annotate", "Ask language models about tracks, within a budget."),
    "report": ("map4_pipeline.cli.report", "report", "Write the library's report (PDF, Excel, HTML)."),
    "export": ("map4_pipeline.cli.export", "export", "Write tracks as files for other programs."),
    "import": ("map4_pipeline.cli.import_", "import_", "Read what was made in rekordbox or Traktor, and playlists."),
    "tags": ("map4_pipeline.cli.tags", "tags", "Write BPM, key, energy, ReplayGain into files; undo it."),
    "estimate": ("map4_pipeline.cli.estimate", "estimate", "Say how long a first ingest of folders would take."),
    "pause": ("map4_pipeline.cli.control", "pause", "Let every run rest."),
    "resume": ("map4_pipeline.cli.control", "resume", "Let everything go on."),
    "queue": ("map4_pipeline.cli.queue", "queue", "Ask for files or folders to be analysed, by priority."),
    "library": ("map4_pipeline.cli.library", "library", "List library roots; move, watch or remove one."),
    "serve": ("map4_pipeline.cli.serve", "serve", "Start the REST API and the web page."),
    "users": ("map4_pipeline.cli.users", "users", "Accounts of the API and the web page: list, add, change, export, erase."),
    "secrets": ("map4_pipeline.cli.secrets", "secrets", "Secret settings, kept encrypted: set, list, remove."),
    "doctor": ("map4_pipeline.cli.doctor", "doctor", "Check that everything MAP4 needs works here."),
    "db": ("map4_pipeline.cli.db", "db", "The database: url, start, stop, status, migrate, dump, restore."),
}


#: Commands that can ask a `map4 serve` elsewhere -> (module, attribute).
REMOTE = {
    **{
        name: ("map4_pipeline.cli.remote.finding", name)
        for name in ("search", "tracks", "similar", "compare", "status", "duplicates")
    },
    **{name: ("map4_pipeline.cli.remote.asking", name) for name in ("queue", "playlist", "login")},
    "export": ("map4_pipeline.cli.remote.exporting", "export"),
    "library": ("map4_pipeline.cli.remote.libraries", "library"),
}
_LOGIN = "Get a token of the server that --server names."


def local_command(name: str) -> click.Command:
    """Import a command of the library's own machine."""
    module, attribute, _ = COMMANDS[name]
    command: click.Command = getattr(importlib.import_module(module), attribute)
    return command


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called: `map4 --help` imports none."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take `--server URL` out, wherever it stands before a `--`."""
        kept: list[str] = []
        rest = iter(args)
        for argument in rest:
            if argument == "--":
                kept += [argument, *rest]
            elif argument == "--server":
                ctx.obj = next(rest, None) or ctx.fail("--server needs an address: --server https://music.example.org")
            elif argument.startswith("--server="):
                ctx.obj = argument.partition("=")[2]
            else:
                kept.append(argument)
        return super().parse_args(ctx, kept)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module and return the command."""
        if ctx.obj and cmd_name in COMMANDS and cmd_name not in REMOTE:
            ctx.fail(f"`map4 {cmd_name}` works on the library's own machine. With --server: {', '.join(REMOTE)}.")
        if cmd_name in REMOTE and (ctx.obj or os.environ.get("MAP4_SERVER", "").strip()):
            module, attribute = REMOTE[cmd_name]
        elif cmd_name in COMMANDS:
            module, attribute, _ = COMMANDS[cmd_name]
        elif cmd_name in REMOTE:
            ctx.fail(f"`map4 {cmd_name}` needs a server: map4 --server https://music.example.org {cmd_name}")
        else:
            return None
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the commands that are nearest to one that does not exist."""
        if args and args[0] not in (*COMMANDS, *REMOTE) and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=2, cutoff=0.65)
            hint = f" Did you mean {' or '.join(near)}?" if near else f" Commands: {', '.join(COMMANDS)}."
            ctx.fail(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([*((name, text) for name, (_, _, text) in COMMANDS.items()), ("login", _LOGIN)])
        with formatter.section("Elsewhere"):
            text = f"Ask a `map4 serve` there instead (also MAP4_SERVER): {', '.join(REMOTE)}."
            formatter.write_dl([("--server URL", text)])


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with: map4 ingest ~/Music   and then: map4 up",
)
@click.version_option(__version__, prog_name="map4")
def main() -> None:
    """MAP4 turns folders of music into a PostgreSQL library: tempo, key, energy, loudness, HAMMS vectors, fingerprints,
    reports; and keeps it true while the folders change.
    """


def run() -> None:
    """Run the program; whatever goes wrong ends it with a sentence and an exit code, not with a traceback."""
    # A service manager's SIGTERM is as good as Ctrl-C from the first moment on: what is done is kept, workers end.
    with contextlib.suppress(ValueError):  # signals are the main thread's
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    if sys.stdin is None:  # closed (`<&-`): a question is then answered as one without a terminal is
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 (as long as the program)
    garbage.begin()
    try:
        main(prog_name="map4", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort as error:
        sys.exit(_without_an_answer(error))
    except KeyboardInterrupt:
        sys.exit(_interrupted())
    except BrokenPipeError:  # `map4 tracks | head`
        from map4_pipeline.cli.console import silence

        silence(sys.stdout)
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 (the last stop: told in a sentence, written to a log)
        from map4_pipeline.cli.failures import report_failure

        sys.exit(report_failure(error))


def _interrupted() -> int:
    more = " What was analysed is kept; the same command goes on from there." if sys.argv[1:2] == ["ingest"] else ""
    click.echo(f"\nInterrupted.{more}", err=True)
    return 3


def _without_an_answer(error: click.Abort) -> int:
    """Tell why Click gave up: Ctrl-C, the answer no, or a question that nobody is there to answer."""
    if error.__context__ is None:
        click.echo("Nothing was changed.", err=True)
        return 3
    if error.__cause__ is not None or isinstance(error.__context__, KeyboardInterrupt):
        return _interrupted()
    instead = "give --name and --password" if "login" in sys.argv else "add --yes"
    click.echo(f"\nmap4: This needs an answer, and without a terminal nobody gives it. Nothing was changed: {instead}.", err=True)
    return 2


if __name__ == "__main__":
    run()
