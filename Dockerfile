# The static binary and nothing else. Build it first: scripts/build-static
FROM scratch
ARG TARGET=x86_64-unknown-linux-musl
# Execute-only: the kernel lets no process of the same user attach to it or read its environment.
COPY --chmod=0111 target/${TARGET}/release/openhands-runner /openhands-runner
ENTRYPOINT ["/openhands-runner"]
