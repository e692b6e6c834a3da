#!/usr/bin/env bash
# Runs the README's first command as a new user would: in a copy of the checkout, with a fresh venv.
set -euo pipefail
here="$(cd "$(dirname "$0")/../.." && pwd)"
copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT
git -C "$here" archive HEAD | tar -x -C "$copy"
cd "$copy"
command="$(awk '/<!-- first -->/{getline; getline; print; exit}' README.md)"
echo "$command"
bash -c "$command"
