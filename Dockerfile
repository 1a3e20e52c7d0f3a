# Three images of contratos.  script/image builds them; by hand:
#
#   docker build --tag contratos:18 .
#   docker build --tag contratos-extension:18 --target extension .
#   docker build --tag contratos-page:18 --target page .
#
# contratos is the official image of PostgreSQL with the extension in it;
# extension holds only files, which CloudNativePG mounts into a PostgreSQL of the
# same major version, Debian release and architecture; page writes the pages of
# contratos_page() with that official image's psql, and serves them.
#
# BASE pins the official image, as in BASE=docker.io/library/postgres@sha256:...

ARG VERSION=1.0.0
ARG PG_MAJOR=18
ARG BASE=docker.io/library/postgres:${PG_MAJOR}

FROM ${BASE} AS build
ARG PG_MAJOR
SHELL ["/bin/bash", "-eo", "pipefail", "-c"]
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev libcurl4-openssl-dev libjansson-dev libssl-dev \
      make pkgconf "postgresql-server-dev-${PG_MAJOR}" \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Makefile contratos.control exports.map ./
COPY extension extension/
COPY src src/
RUN make -j "$(nproc)" && make install DESTDIR=/out DOCS=
COPY LICENSE deploy/image/collect ./
RUN ./collect /out /extension /packages

FROM scratch AS extension
ARG PG_MAJOR
ARG VERSION
LABEL org.opencontainers.image.title="contratos (extension for PostgreSQL ${PG_MAJOR})" \
      org.opencontainers.image.description="contratos as CloudNativePG mounts it: lib, share/extension, system for ld_library_path" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="PostgreSQL"
COPY --from=build /extension/ /
USER 65532:65532

FROM ${BASE} AS page
ARG PG_MAJOR
ARG VERSION
LABEL org.opencontainers.image.title="contratos-page (psql ${PG_MAJOR})" \
      org.opencontainers.image.description="Writes the pages of contratos_page(), and serves them at port 8080" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="PostgreSQL"
RUN apt-get update \
 && apt-get install -y --no-install-recommends busybox \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o 999 -g 999 /page
COPY LICENSE /usr/share/doc/contratos/copyright
COPY deploy/page/write-page /usr/local/bin/
ENV PORT=8080
EXPOSE 8080
USER 999:999
STOPSIGNAL SIGTERM
# the index is there when the pages have been written once
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"]
ENTRYPOINT ["write-page"]
CMD ["/page"]

FROM ${BASE} AS contratos
ARG PG_MAJOR
ARG VERSION
LABEL org.opencontainers.image.title="contratos on PostgreSQL ${PG_MAJOR}" \
      org.opencontainers.image.description="Keeps local tables equal, day by day, to BigQuery tables" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="PostgreSQL"
# The libraries by the names that this Debian release has for their packages;
# the official image has no certificates of authorities.
COPY --from=build /packages /usr/share/contratos/packages
RUN apt-get update \
 && xargs apt-get install -y --no-install-recommends ca-certificates < /usr/share/contratos/packages \
 && rm -rf /var/lib/apt/lists/* \
 && echo 'CREATE EXTENSION contratos;' > /docker-entrypoint-initdb.d/50-contratos.sql
COPY --from=build /out/ /
COPY LICENSE /usr/share/doc/contratos/copyright
COPY deploy/image/healthy /usr/local/bin/contratos-healthy
# The official image's postgres, by number, so that Kubernetes can tell that it
# is not root.  The official entrypoint needs no root.
USER 999:999
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["contratos-healthy"]
CMD ["postgres", "-c", "shared_preload_libraries=contratos"]
