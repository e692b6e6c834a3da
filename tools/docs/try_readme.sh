#!/usr/bin/env bash
# Runs the README's first shell block as a new user would: in a copy of the checkout, with a fresh venv.
set -euo pipefail
here="$(cd "$(dirname "$0")/../.." && pwd)"
copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT
git -C "$here" archive HEAD | tar -x -C "$copy"
cd "$copy"
command="$(awk '/<!-- first -->/{getline; while ((getline line) > 0 && line != "```") print line; exit}' README.md)"
echo "$command"
bash -c "$command"
