"""Groups of commands of which only some can be asked of a server."""

import click


class RemoteGroup(click.Group):
    """A group that says of a command it does not have that it belongs to the library's own machine, if it does."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant."""
        from map4_pipeline.cli.main import local_command

        if args and args[0] not in self.commands:
            here = local_command(str(self.name))
            if isinstance(here, click.Group) and args[0] in here.commands:
                named = ", ".join(f"{self.name} {name}" for name in self.list_commands(ctx))
                ctx.fail(
                    f"`map4 {self.name} {args[0]}` works on the library's own machine. With --server or MAP4_SERVER: {named}."
                )
        return super().resolve_command(ctx, args)
