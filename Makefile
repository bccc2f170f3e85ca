# One entry for every task. `make` alone lists them.

SWIFT ?= swift
SOURCE ?=
PREFIX ?= /usr/local
BIN ?=

.PHONY: help demo test soak test-ceph build bench fmt check install packages

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make demo     start a server, back up a folder twice, restore it, compare (SOURCE=/path for your own folder)
demo: build
	@scripts/demo.sh "$(SOURCE)"

## make test     the whole behaviour, with seeded samples
test:
	@scripts/system-packages.sh test
	@scripts/test.sh

## make soak     the same at full count
soak:
	@scripts/system-packages.sh test
	@CAIRN_SOAK=1 scripts/test.sh

## make test-ceph the remotes in object stores against a Ceph of one node
test-ceph:
	@scripts/system-packages.sh test-ceph
	@scripts/test-ceph.sh

## make build    the release program, .build/release/cairn
build: packages
	$(SWIFT) build -c release --product cairn

## make bench    Cairn beside restic and borg, as ratios
bench: build
	@scripts/bench.sh

## make fmt      format the sources
fmt:
	$(SWIFT) format format --in-place --parallel --recursive Sources Tests Package.swift

## make check    format and house rules, without building everything
check:
	$(SWIFT) format lint --strict --parallel --recursive Sources Tests Package.swift

## make install  put the program, completions, manual and systemd unit below PREFIX (default /usr/local); BIN= installs that one
install: $(if $(BIN),,build)
	@BIN="$(BIN)" PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" scripts/install.sh

packages:
	@scripts/system-packages.sh
