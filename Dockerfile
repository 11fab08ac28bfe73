# One image with all programs that run in the cluster, for every platform that Go
# builds for: the compiler runs on the machine's own platform and crosses.
#
#     docker build -t gocache.dev/operator:dev .
#     docker buildx build --platform linux/amd64,linux/arm64 -t NAME .
ARG GO_VERSION=1.26.8
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS build
WORKDIR /src
# Modules change less often than code: they are a layer of their own.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY main.go ./
COPY api api
COPY controllers controllers
COPY internal internal
ARG TARGETOS TARGETARCH
# What --version prints.
ARG VERSION COMMIT
ENV CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH
ENV LDFLAGS="-s -w -X gocache.dev/operator/internal/domain/version.version=$VERSION -X gocache.dev/operator/internal/domain/version.commit=$COMMIT"
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    mkdir /out && \
    go build -trimpath -ldflags "$LDFLAGS" -o /out/manager . && \
    go build -trimpath -ldflags "$LDFLAGS" -o /out/ \
      $(go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./internal/cmd/gocache-...)

FROM scratch
# Proxies and git sources speak TLS to the outside.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
# The toolchain's own defaults, such as GOPROXY, for the proxy to start from.
COPY --from=build /usr/local/go/go.env /usr/local/go/go.env
COPY --from=build /out/ /
USER 65532:65532
ENTRYPOINT ["/manager"]
