# One image for every part; compose.yaml says which one a container is. Linted, never run: see
# docs/operations/services.md.
FROM python:3.12-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    MPLBACKEND=agg \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    AUTOINDEX_DATA_DIR=/data \
    PREFECT_HOME=/tmp/prefect

WORKDIR /app

# The locked packages first: they change less often than what is built on them.
COPY requirements.lock ./
RUN pip install --no-deps --require-hashes --requirement requirements.lock

COPY . .
RUN pip install --no-deps --no-build-isolation --editable . \
    && useradd --uid 10001 --home-dir /data --create-home autoindex

USER 10001
VOLUME /data
CMD ["prefect", "worker", "start", "--pool", "autoindex", "--type", "autoindex"]
