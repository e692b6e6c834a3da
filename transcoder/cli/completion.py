"""`transcode completion`: click's script for a shell."""

from __future__ import annotations

import click

from transcoder.cli.options import guide, output_options
from transcoder.cli.terminal import echo_result

SHELLS = ("bash", "zsh", "fish")


@click.command(epilog=guide("completion"))
@click.argument("shell", type=click.Choice(SHELLS))
@output_options
@click.pass_context
def completion(context: click.Context, shell: str, as_json: bool) -> None:
    """Print the script that lets a shell complete `transcode`

    It completes commands, options, their values, and the names of shipped mappings.

    \b
    Write it to a file that your shell reads, then start a new shell:
      bash  ~/.local/share/bash-completion/completions/transcode
      zsh   _transcode, in a directory of $fpath
      fish  ~/.config/fish/completions/transcode.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  (click has the three)
    script = kind(context.find_root().command, {}, "transcode", "_TRANSCODE_COMPLETE").source()
    echo_result(as_json, {"shell": shell, "script": script}, script.strip)
