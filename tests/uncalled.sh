#!/bin/sh
# Lists what production code declares and nothing uses. The tool lies beside the repository.
set -eu
cd "$(dirname "$0")/.."
tool=../shared/tools/uncalled.py
if [ -f "$tool" ]; then
    exec python3 "$tool" .
fi
echo "SKIPPED uncalled: $tool is not there"
