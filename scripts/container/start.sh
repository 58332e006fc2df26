#!/bin/sh
# Sets the server's environment and becomes the server, so that signals reach it. What is set already stays.
#
# Inference Endpoints puts the model repository in /repository. That is a Whisper model, which is then the default of
# ASR_MODEL, or a copy of this project, whose folders (demo/whisper) are found since the server runs there.
# A volume mounted there and writable also keeps the models that are downloaded.
set -eu

: "${REPOSITORY:=/repository}" "${APP:=/app}" "${DATA:=/data}" "${PYTHON:=python}"

if [ "$(id -u)" = 0 ] && [ -z "${ALLOW_ROOT:-}" ]; then
    echo "start.sh: refuses to serve as root: leave the image's user as it is, or set ALLOW_ROOT=1." >&2
    exit 1
fi

cache=$DATA/huggingface
if [ -d "$REPOSITORY" ]; then
    cd "$REPOSITORY"
    if [ -w "$REPOSITORY" ]; then
        cache=$REPOSITORY/.cache/huggingface
    fi
    if [ -f "$REPOSITORY/config.json" ] && [ -z "${ASR_MODEL:-}" ]; then
        export ASR_MODEL="$REPOSITORY"
    fi
fi

export HOST="${HOST:-0.0.0.0}"  # the server's own default answers within the container alone
export PORT="${PORT:-8000}"
export HF_HOME="${HF_HOME:-$cache}"
export TURNSCRIBE_HOME="${TURNSCRIBE_HOME:-${cache%/huggingface}/turnscribe}"  # of named models
export JOBS_FOLDER="${JOBS_FOLDER:-$DATA/jobs}"
export PYTHONPATH="$APP${PYTHONPATH:+:$PYTHONPATH}"

# -P: the working folder may hold another copy of the code, and this image's is the one that fits its packages.
exec "$PYTHON" -P -m server "$@"
