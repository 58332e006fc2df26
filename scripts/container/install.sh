#!/bin/sh
# Builds the image's contents, as root, in the folder of the application: packages, the user, the folders it may write to.
# PYTHON, USER_NAME and DATA may be set, so that a test can run this outside of a container.
set -eu

: "${PYTHON:=python}" "${USER_NAME:=turnscribe}" "${DATA:=/data}"

# Wheels alone: what is built needs packages that no hash holds.
"$PYTHON" -m pip install --no-cache-dir --only-binary :all: --require-hashes --requirement requirements-lock.txt
"$PYTHON" -m pip check

# A fixed number, so that a volume's owner can be set to it. No shell, no password.
if ! id "$USER_NAME" > /dev/null 2>&1; then
    useradd --uid 1000 --user-group --create-home --shell /usr/sbin/nologin "$USER_NAME"
fi
mkdir -p "$DATA/jobs" "$DATA/huggingface" "$DATA/turnscribe"
chown -R "$USER_NAME" "$DATA"
