# The image for the Home Assistant add-on and for plain Docker. build.yaml has the same base.
ARG BUILD_FROM=ghcr.io/home-assistant/base-python:3.14-alpine3.24-2026.06.1

# What pip leaves behind stays in this stage.
# hadolint ignore=DL3006
FROM ${BUILD_FROM} AS packages
WORKDIR /opt/immich-job-daemon
COPY requirements/run.txt /tmp/run.txt
# Wheels only, so that no compiler is needed.
RUN python3 -m pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore \
      --no-compile --only-binary :all: --require-hashes --target . --requirement /tmp/run.txt \
    && rm -rf bin \
    && find . -type d -name tests -prune -exec rm -rf {} + \
    && find . -name README.md -delete
COPY immich_job_daemon immich_job_daemon
# Compiled here, because the daemon's user cannot write the bytecode, and the file system may be
# read-only. Readable for all users, whatever the permissions of the checkout.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/immich-job-daemon \
    && chmod -R a+rX .

# hadolint ignore=DL3006
FROM ${BUILD_FROM}
ARG BUILD_ARCH
ARG BUILD_VERSION

COPY --from=packages /opt/immich-job-daemon /opt/immich-job-daemon
COPY rootfs /
# The daemon's user, added by hand since busybox and shadow have different adduser commands. A new
# volume at /data gets the owner of the folder, so `--user 1000:1000` can write to it.
RUN echo 'immich-job-daemon:x:1000:' >> /etc/group \
    && echo 'immich-job-daemon:x:1000:1000::/data:/sbin/nologin' >> /etc/passwd \
    && mkdir -p /data/state \
    && chown -R 1000:1000 /data

# PYTHONSAFEPATH: import nothing from the current folder.
# S6_KILL_GRACETIME: after the daemon has stopped there is nothing to wait for.
ENV DATA_DIR=/data/state \
    PYTHONPATH=/opt/immich-job-daemon \
    PYTHONSAFEPATH=1 \
    S6_KILL_GRACETIME=0 \
    S6_VERBOSITY=1

# 8085: totals, metrics and health for dashboards. 8099: the page. Neither is published by default.
EXPOSE 8085 8099

# Healthy: /health reports that the daemon's loop is alive. With STATUS_PORT=0: under s6 the process is
# running and neither stopped nor a zombie; without s6 the container ends with the process.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
  CMD ["/bin/sh", "-c", "if [ \"${STATUS_PORT:-8085}\" != 0 ]; then curl --silent --show-error --fail-with-body --noproxy '*' --max-time 4 \"http://127.0.0.1:${STATUS_PORT:-8085}/health\" || exit 1; elif [ -d /run/service/immich_job_daemon ]; then grep -q '^State:[[:space:]]*[RSD]' /proc/$(/command/s6-svstat -o pid /run/service/immich_job_daemon)/status || exit 1; fi"]

LABEL io.hass.name="Immich Job Daemon" \
      io.hass.description="Runs Immich's background queues by priority, at most N at once" \
      io.hass.type="addon" \
      io.hass.arch="${BUILD_ARCH}" \
      io.hass.version="${BUILD_VERSION}" \
      org.opencontainers.image.title="Immich Job Daemon" \
      org.opencontainers.image.description="Runs Immich's background queues by priority, at most N at once" \
      org.opencontainers.image.url="https://github.com/immich-job-daemon/immich-job-daemon" \
      org.opencontainers.image.source="https://github.com/immich-job-daemon/immich-job-daemon" \
      org.opencontainers.image.documentation="https://github.com/immich-job-daemon/immich-job-daemon/blob/main/DOCS.md" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${BUILD_VERSION}"
