# The static binary and nothing else. Build it first: scripts/build-static
FROM scratch
ARG TARGET=x86_64-unknown-linux-musl
COPY target/${TARGET}/release/openhands-runner /openhands-runner
ENTRYPOINT ["/openhands-runner"]
