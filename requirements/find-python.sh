#!/usr/bin/env bash
# Print the path of a Python to build the environments with: 3.13 (Lambda's own) where there is one, else 3.12, 3.11,
# else whatever `python3` is if it is new enough. $PYTHON overrides.
set -uo pipefail

fits() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

shopt -s nullglob
for minor in 13 12 11; do
  candidates+=("python3.$minor" "$HOME/.pyenv/versions/3.$minor."*/bin/python)
done
for candidate in ${PYTHON:+"$PYTHON"} "${candidates[@]}" python3; do
  if fits "$candidate"; then
    command -v "$candidate"
    exit 0
  fi
done
echo "Pullahead needs Python 3.11 or newer with venv (Debian and Ubuntu: apt install python3-venv); none was found" >&2
exit 1
