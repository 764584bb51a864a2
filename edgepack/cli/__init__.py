"""The command line: one verb a file, loaded when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from edgepack import __version__, publish
from edgepack.cli import interrupt
from edgepack.errors import EdgepackError, did_you_mean

VERBS = {
    "init": "Write a commented recipe for a model.",
    "build": "Make a model small, export, quantise and pack it, and prove it on the target.",
    "plan": "Show what a build would do, without doing it.",
    "verify": "Prove an artifact on a device, real or emulated.",
    "bench": "Measure or count the work of one inference, side by side.",
    "compare": "Hold two artifacts or .onnx files side by side.",
    "inspect": "Show what an artifact says of itself, or an .onnx file holds.",
    "unpack": "Extract an artifact's files into a fresh folder.",
    "targets": "List the targets, or show one.",
    "passes": "List the passes, or show the options of one.",
    "errors": "Explain an error code, or list all of them.",
    "doctor": "Tell what this machine lacks, and set it up.",
    "cache": "Show, check or prune what builds have stored on this machine.",
    "schema": "Print the JSON Schema of a recipe, target, report, manifest or comparison.",
    "demo": "Build the builtin digits model and prove it on an emulated Cortex-A72.",
}


class Verbs(click.Group):
    """A group that imports a verb's file only when that verb is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order in which they are met in daily work."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one verb."""
        if cmd_name not in VERBS:
            return None
        command = import_module(f"edgepack.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; a word that is none gets a suggestion."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            raise click.UsageError(f"no verb `{args[0]}`; {did_you_mean(args[0], VERBS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of verbs without loading any."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="edgepack %(version)s")
def cli() -> None:
    """One recipe from checkpoint to proven artifact.

    Exit status: 0 pass, 1 a gate failed, 2 usage or recipe, 3 environment or unverified,
    4 model unsupported, 5 measurement invalid, 6 artifact refused, 70 bug, 130 interrupted,
    143 terminated.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status; every deliberate error becomes a message."""
    return interrupt.status(_run(arguments))


def _run(arguments: Sequence[str]) -> int:
    try:
        with publish.workspace():
            answer = cli.main(list(arguments), prog_name="edgepack", standalone_mode=False)
    except EdgepackError as problem:
        click.echo(str(problem), err=True)
        return problem.status
    except click.exceptions.NoArgsIsHelpError as problem:
        click.echo(problem.format_message(), err=True)
        return 2
    except click.ClickException as problem:
        fix = "see `edgepack --help`"
        if isinstance(problem, click.UsageError) and problem.ctx is not None:
            fix = f"see `{problem.ctx.command_path} --help`"
        click.echo(f"error[E200] {problem.format_message()}\n  fix: {fix}", err=True)
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; what was finished is kept and the next build goes on", err=True)
        return 130
    except SystemExit as problem:
        click.echo(
            "error[E701] code that the build runs ended it\n  fix: remove its call of sys.exit",
            err=True,
        )
        return problem.code if isinstance(problem.code, int) and problem.code else 70
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except Exception:  # noqa: BLE001  the last resort, so that a bug has a status of its own
        if interrupt.status(0):  # a library turned the signal into an error of its own
            click.echo("interrupted; what was finished is kept", err=True)
            return 130
        import traceback

        click.echo(traceback.format_exc(), err=True)
        click.echo("error[E700] this is a bug in edgepack\n  fix: report the lines above", err=True)
        return 70
    return answer if isinstance(answer, int) else 0
