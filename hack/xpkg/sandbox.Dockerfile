# The sandbox's image for those who have Docker: docker build -f hack/xpkg/sandbox.Dockerfile -t sandbox .
# make xpkg builds the same without it, from the same packages, reproducibly.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -buildid=' -o /sandbox ./cmd/sandbox

FROM debian:bookworm-slim
RUN apt-get update \
  && apt-get install -y --no-install-recommends python3-pandas python3-matplotlib fonts-dejavu-core ca-certificates tzdata \
  && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /usr/include /usr/lib/gcc \
  && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=build /sandbox /sandbox
USER 65532:65532
ENTRYPOINT ["/sandbox"]
