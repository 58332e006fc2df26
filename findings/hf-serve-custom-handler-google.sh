#!/usr/bin/env bash
# hf-serve 0.2.0, `--cloud google`, with a custom handler: the option gives Vertex AI's shape to every task but this one.
#
# Its help says that `instances` needs to be a list of inputs for Vertex AI, and for its own tasks hf-serve then takes the
# list apart, calls the model with each instance, answers `{"predictions": [...]}` and listens at AIP_PREDICT_ROUTE. With
# TASK=custom
# - the handler is called once, with the whole body: {"instances": ["a", "b"], "parameters": null}
# - its answer goes back as it is, without the `predictions` that Vertex AI asks for
# - the route in AIP_PREDICT_ROUTE is not there (404), though that in AIP_HEALTH_ROUTE is (200); only / and /predict are
# - while the handler works (3 s here), the health route does not answer either: the handler runs on the event loop
# - a body that is not UTF-8, such as a recording sent as audio/wav, is a 500 and no 4xx
#
# Seen: health 200, predict 404, /predict 200 with both keys, audio 500, health while the handler works: none in 2 s
#
# Needs Python 3.12 (PYTHON312=...), about 90 MB of packages and half a minute. hf-serve imports torch when it starts,
# and uses nothing of it for a custom handler, so an empty module stands for it here. Fails if any of this changes.
set -euo pipefail

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON312:-python3.12}" -m venv packages
packages/bin/pip install --quiet --no-deps hf-serve==0.2.0
packages/bin/pip install --quiet fastapi==0.139.0 starlette==1.10.0 uvicorn==0.54.0 pydantic==2.14.4 \
    prometheus-client==0.26.0 python-multipart==0.0.34 pillow==13.0.0 requests==2.34.2 python-magic==0.4.27 \
    huggingface_hub==2.4.0 2> pip.log || { cat pip.log >&2; exit 1; }
mkdir stand-in model
touch stand-in/torch.py
cat > model/handler.py << 'HANDLER'
import time


class EndpointHandler:
    def __init__(self, path):
        pass

    def __call__(self, data):
        time.sleep(3 if data.get("parameters") else 0)
        return {"keys": sorted(data)}
HANDLER

port=$(packages/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
base=http://127.0.0.1:$port
PYTHONPATH=stand-in TASK=custom TRUST_REMOTE_CODE=1 MODEL_DIR=$folder/model HOST=127.0.0.1 PORT=$port \
    AIP_MODE=PREDICTION AIP_HEALTH_ROUTE=/well AIP_PREDICT_ROUTE=/asked \
    packages/bin/hf-serve --cloud google > server.log 2>&1 &
server=$!
for _ in $(seq 120); do
    curl --silent --output /dev/null "$base/well" && break
    kill -0 "$server" || { cat server.log >&2; exit 1; }
    sleep 0.5
done

status() { curl --silent --output answer --write-out '%{http_code}' "$@"; }
expect() {
    echo "$1: $3"
    [ "$2" = "$3" ] || { echo "$1 was $2, and is $3 now" >&2; exit 1; }
}
json=(--header 'Content-Type: application/json')

expect "GET AIP_HEALTH_ROUTE" 200 "$(status "$base/well")"
expect "POST AIP_PREDICT_ROUTE" 404 "$(status "${json[@]}" --data '{"instances": ["a", "b"]}' "$base/asked")"
expect "POST /predict" 200 "$(status "${json[@]}" --data '{"instances": ["a", "b"], "parameters": null}' "$base/predict")"
expect "its answer" '{"keys":["instances","parameters"]}' "$(cat answer)"
printf 'RIFF\xff\xff\xff\xffWAVE' > sound.wav
expect "POST /predict of audio/wav" 500 \
    "$(status --header 'Content-Type: audio/wav' --data-binary @sound.wav "$base/predict")"

curl --silent --output busy "${json[@]}" --data '{"instances": ["a"], "parameters": {"slow": true}}' "$base/predict" &
sleep 0.5
expect "GET AIP_HEALTH_ROUTE within 2 s while the handler works" 000 "$(status --max-time 2 "$base/well" || true)"
wait $!
echo "as before"
