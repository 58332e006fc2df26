# The custom container: `python -m server` with every package, and no model.
#
#     docker build --tag turnscribe .
#     docker run --gpus all --publish 8000:8000 --env ASR_MODEL=demo/whisper turnscribe
#
# A plain Python, since torch's wheels bring CUDA's libraries with them: an image of PyTorch or of CUDA would add
# gigabytes of a second copy, in versions that requirements.txt did not choose. The driver is the host's.
# PyAV and soundfile bring FFmpeg's and libsndfile's libraries, so nothing of Debian's is installed.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

WORKDIR /app

# The packages first, each in one version and by its hash (`make lock`): a change of the code does not install them again.
COPY requirements-lock.txt ./
COPY scripts/container/install.sh scripts/container/
RUN sh scripts/container/install.sh

COPY . .

ENV PORT=8000
EXPOSE 8000
USER 1000

# Until the models are loaded, which takes minutes where they come from the Hub, /health answers 503.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30m --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/health\")"]

ENTRYPOINT ["sh", "scripts/container/start.sh"]
