# PostgreSQL for CloudNativePG with TimescaleDB's Apache edition, the one the tests run on (Debian's package):
#   docker build -f deploy/helm/postgresql.Dockerfile -t registry.example.org/postgresql-timescaledb:17 deploy/helm
FROM ghcr.io/cloudnative-pg/postgresql:17-standard-trixie
USER root
RUN apt-get update && apt-get install -y --no-install-recommends postgresql-17-timescaledb && rm -rf /var/lib/apt/lists/*
USER 26
