"""Completion in a shell, as docs/completion.md installs it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(sys.executable).parent
# Complete the last of some words as bash does when Tab is pressed, and print what it would offer.
BASH = """
eval "$(transcode completion bash)"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_transcode_completion transcode
printf '%s\\n' "${COMPREPLY[@]}"
"""


def run(command: list[str], **variables: str) -> str:
    environment = {**os.environ, "PATH": f"{HERE}{os.pathsep}{os.environ['PATH']}", **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def bash_version() -> tuple[int, ...]:
    if shutil.which("bash") is None:
        return ()
    version = run(["bash", "-c", 'echo "${BASH_VERSINFO[0]} ${BASH_VERSINFO[1]}"'])
    return tuple(map(int, version.split()))


@pytest.mark.skipif(bash_version() < (4, 4), reason="click needs bash 4.4; macOS has 3.2")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("con", ["convert"]),
        ("mapping l", ["list", "lint"]),
        ("convert --mem", ["--memory"]),
        ("convert SRC OUT --dtype b", ["bfloat16"]),
        ("no-such-command --x", [""]),
    ],
)
def test_bash_completes(words: str, offered: list[str]) -> None:
    command = ["bash", "--norc", "-c", BASH, "bash", "transcode", *words.split()]
    assert sorted(run(command).splitlines()) == sorted(offered)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_given_a_script_and_answers(shell: str) -> None:
    assert f"{shell}_complete" in run(["transcode", "completion", shell])
    words = {"zsh": ("transcode con", "1"), "fish": ("transcode con", "con")}[shell]
    variables = {"_TRANSCODE_COMPLETE": f"{shell}_complete", "COMP_WORDS": words[0], "COMP_CWORD": words[1]}
    assert "convert" in run(["transcode"], **variables)
