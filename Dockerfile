# The service and its commands: `docker run … amrutam start | migrate | create-admin | create-keys | seed` (deploy/README.md).
# The base has the version of Node that package.json names. Pin its digest as well where you build what you deploy.
FROM docker.io/library/node:24.21.0-bookworm-slim AS base
WORKDIR /app

FROM base AS packages
COPY package.json package-lock.json .npmrc ./
# No packages for development, and no embedded PostgreSQL: a container is told its DATABASE_URL.
# `npm sbom --omit=dev` forgets packages that both kinds need, so it sees a project that has only one kind.
RUN npm ci --omit=dev --omit=optional --ignore-scripts \
 && npm pkg delete devDependencies \
 && npm sbom --omit=optional --sbom-format=cyclonedx --sbom-type=application >sbom.cdx.json \
 && find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete

FROM base
LABEL org.opencontainers.image.title="Amrutam Telemedicine Backend" \
      org.opencontainers.image.description="Telemedicine scheduling: doctors publish times, patients book them, a slot is never sold twice." \
      org.opencontainers.image.licenses="MIT"
# Package managers are of no use here, and what scanners find in them is no concern of ours.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /opt/yarn-* /usr/local/bin/yarn*
COPY --from=packages /app/sbom.cdx.json ./
COPY --from=packages /app/node_modules ./node_modules
COPY package.json ./
COPY gen ./gen
COPY migrations ./migrations
COPY src ./src
COPY deploy/image/entrypoint.sh /usr/local/bin/amrutam
# What Node compiles at a first start is kept, as it is for every start in a clone (src/compile-cache.ts), because nothing can be
# written later: a start takes 0.7 s instead of 1.1. This one reaches no database and fails; all that it loads is loaded by then.
# The cache is good for the user who made it; nobody may change it.
RUN install -d -o 1000 node_modules/.cache/compiled \
 && (setpriv --reuid=1000 --regid=1000 --clear-groups \
      env DATABASE_URL=postgres://127.0.0.1:1/none JWT_KEYS_FILE=none amrutam start 2>/dev/null || true) \
 && chown -R 0:0 node_modules/.cache && chmod -R a+rX node_modules/.cache
USER 1000:1000
EXPOSE 50051 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "src/commands/health.ts"]
ENTRYPOINT ["amrutam"]
CMD ["start"]
