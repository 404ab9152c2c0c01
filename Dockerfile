# syntax=docker/dockerfile:1
# The same file for x86-64 and arm64: every dependency ships wheels for both.

FROM python:3.11.14-slim-bookworm AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
# The lock's versions without the tools of development: constraints pin what the wheel asks for, and nothing more.
COPY requirements.lock ./
RUN sed -E '/^ *(#|--)/d; s/ *\\$//; s/ --hash=[^ ]+//g' requirements.lock > constraints.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY city city
COPY rules rules
COPY ingest ingest
COPY command_centre command_centre
COPY docs/runbooks docs/runbooks
COPY simulators simulators
COPY runtime runtime
# Nothing in production to play with; `--build-arg SIMULATORS=yes` makes an image for demonstrations and drills.
ARG SIMULATORS=no
# The wheel's build hook gets Node from its own wheel and builds the front end into it.
RUN --mount=type=cache,target=/root/.cache/pip CITY_SIMULATORS=$SIMULATORS pip wheel --no-deps --wheel-dir /wheels .
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/city && /opt/city/bin/pip install --constraint constraints.txt /wheels/*.whl

FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="city-command-centre" org.opencontainers.image.licenses="Apache-2.0"
# A fixed number, so that volumes keep their owner from one image to the next.
RUN groupadd --gid 10001 city && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/city city \
    && install -d -o city -g city /var/lib/city /var/lib/broker
COPY --from=build /opt/city /opt/city
ENV PATH=/opt/city/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    CITY_DATA_DIR=/var/lib/city CITY_LOG_FORMAT=json
WORKDIR /var/lib/city
USER 10001:10001
# No health check here: ingest and centre differ, see docker-compose.yml.
ENTRYPOINT ["city"]
CMD ["--help"]
