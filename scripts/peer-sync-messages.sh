#!/usr/bin/env bash
# Makes the Swift code of the peer sync messages from their schema. Needed after a change of the schema only; the result
# is committed. Takes Debian's protobuf-compiler, and the generator of the swift-protobuf that Package.swift names.
set -euo pipefail
cd "$(dirname "$0")/.."

swift build --scratch-path .build/generator --package-path .build/checkouts/swift-protobuf --product protoc-gen-swift
room=Sources/Protocols/PeerSyncProtocol
protoc --proto_path="$room/Schema" --plugin=.build/generator/debug/protoc-gen-swift \
    --swift_out="$room/Messages" --swift_opt=Visibility=Package --swift_opt=UseAccessLevelOnImports=true "$room"/Schema/*.proto
