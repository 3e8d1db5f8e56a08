# One image for every role: code location, daemon, webserver, migration. docker-compose.yml gives each its command.
ARG PYTHON_VERSION=3.12

# --- everything is installed here; pip, uv and setuptools stay behind -------------------------------------------------
FROM python:${PYTHON_VERSION}-slim AS build
ENV PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /app
# The packages, hash by hash from the lock: a layer that changes only with it.
COPY requirements.lock pyproject.toml README.md LICENSE NOTICE ./
COPY scripts ./scripts
RUN ["python", "scripts/setup_env.py", "--packages-only"]
COPY map4_pipeline ./map4_pipeline
COPY sql ./sql
COPY deploy ./deploy
COPY dagster.yaml workspace.yaml ./
RUN ["python", "scripts/setup_env.py"]
RUN .venv/bin/python -m compileall -q map4_pipeline sql \
    && .venv/bin/python -m pip uninstall --quiet --yes uv setuptools pip \
    && rm -rf scripts *.egg-info

# --- what runs ---------------------------------------------------------------------------------------------------------
FROM python:${PYTHON_VERSION}-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="MAP4" \
      org.opencontainers.image.description="Turns folders of music into a PostgreSQL library, with Dagster" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/map4/map4" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 1000 map4 \
    && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /var/lib/map4 --shell /usr/sbin/nologin map4 \
    && install -d -o map4 -g map4 -m 0750 /var/lib/map4
# The code belongs to root: what runs cannot change it.
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MAP4_HOME=/var/lib/map4 \
    DAGSTER_HOME=/app/deploy
USER map4
VOLUME /var/lib/map4
EXPOSE 4000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=3 \
    CMD ["dagster", "api", "grpc-health-check", "-p", "4000"]
CMD ["dagster", "api", "grpc", "-h", "0.0.0.0", "-p", "4000", "-m", "map4_pipeline.orchestration.definitions"]
