#!/usr/bin/env bash
# Write the hash-pinned requirement files anew from the *.in files. Needs `uv` on PATH; run by `make lock`.
set -euo pipefail
cd "$(dirname "$0")/.."
lock() { uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet "$@"; }

lock requirements/dev.in -o requirements/dev.txt
lock requirements/sam.in -o requirements/sam.txt
lock requirements/bench.in -o requirements/bench.txt
lock requirements/lambda-runtime.in -c requirements/dev.txt -o requirements/lambda-runtime.txt
# botocore and what only botocore needs come with the Lambda runtime; in the layer they would weigh more than all the rest.
# urllib3 comes with it, too, in whatever version; but requests is built upon it, so the layer brings the one that is tested.
lock layers/pullahead/requirements.in -c requirements/dev.txt \
  --no-emit-package botocore --no-emit-package python-dateutil --no-emit-package six \
  -o layers/pullahead/requirements.txt
# What proves signatures; it is mounted beside the layer above, and does not bring that one's packages again.
lock layers/signatures/requirements.in -c requirements/dev.txt \
  --no-emit-package certifi --no-emit-package charset-normalizer --no-emit-package idna --no-emit-package requests \
  --no-emit-package typing-extensions --no-emit-package urllib3 \
  -o layers/signatures/requirements.txt
