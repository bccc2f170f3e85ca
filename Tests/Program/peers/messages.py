"""The messages of peer sync, from the schema in Sources/Protocols/PeerSyncProtocol/Schema.

The package protobuf has no compiler of its own, so the few forms that the schema uses are read here and given to it as
descriptors; encoding, decoding and JSON are protobuf's.
"""

import glob
import os
import re

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

SCHEMA = os.path.join(
    os.path.dirname(__file__), "..", "..", "..", "Sources", "Protocols", "PeerSyncProtocol", "Schema")

Field = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "string": Field.TYPE_STRING, "bytes": Field.TYPE_BYTES, "bool": Field.TYPE_BOOL, "double": Field.TYPE_DOUBLE,
    "int32": Field.TYPE_INT32, "int64": Field.TYPE_INT64, "uint32": Field.TYPE_UINT32, "uint64": Field.TYPE_UINT64,
}
TOKEN = re.compile(r'"[^"]*"|[A-Za-z_][\w.]*|-?\d+|[{}=;,()<>\[\]]')


class Schema:
    """One file, word by word."""

    def __init__(self, name, text):
        self.words = TOKEN.findall(re.sub(r"//[^\n]*", "", text))
        self.at = 0
        self.file = descriptor_pb2.FileDescriptorProto(name=name, syntax="proto3")

    def next(self):
        self.at += 1
        return self.words[self.at - 1]

    def take(self, word):
        found = self.next()
        if found != word:
            raise ValueError(f"{self.file.name}: '{found}' in place of '{word}'")

    def skip(self, until=";"):
        while self.next() != until:
            pass

    def read(self):
        while self.at < len(self.words):
            word = self.next()
            if word == "package":
                self.file.package = self.next()
                self.take(";")
            elif word == "import":
                self.file.dependency.append(self.next().strip('"'))
                self.take(";")
            elif word == "message":
                self.message(self.file.message_type.add())
            elif word == "enum":
                self.enum(self.file.enum_type.add())
            elif word == "service":
                self.skip("}")
            else:
                self.skip()
        return self.file

    def enum(self, enum):
        enum.name = self.next()
        self.take("{")
        while (name := self.next()) != "}":
            self.take("=")
            enum.value.add(name=name, number=int(self.next()))
            self.take(";")

    def message(self, message):
        message.name = self.next()
        self.take("{")
        optional = []
        while (word := self.next()) != "}":
            if word == "message":
                self.message(message.nested_type.add())
            elif word == "enum":
                self.enum(message.enum_type.add())
            elif word == "reserved":
                self.skip()
            elif word == "oneof":
                index = len(message.oneof_decl)
                message.oneof_decl.add(name=self.next())
                self.take("{")
                while (word := self.next()) != "}":
                    self.field(message, word).oneof_index = index
            else:
                field = self.field(message, word)
                if word == "optional":
                    optional.append(field)
        for field in optional:  # behind the oneofs that are written out
            field.proto3_optional = True
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name="_" + field.name)

    def field(self, message, word):
        label = Field.LABEL_OPTIONAL
        if word in ("repeated", "optional"):
            label = Field.LABEL_REPEATED if word == "repeated" else label
            word = self.next()
        field = message.field.add(label=label)
        if word in SCALARS:
            field.type = SCALARS[word]
        else:
            field.type_name = word
        field.name = self.next()
        self.take("=")
        field.number = int(self.next())
        if (end := self.next()) == "[":
            self.take("json_name")
            self.take("=")
            field.json_name = self.next().strip('"')
            self.take("]")
            end = self.next()
        if end != ";":
            raise ValueError(f"{self.file.name}: '{end}' behind the field {field.name}")
        return field


def load():
    files = {}
    for path in glob.glob(os.path.join(SCHEMA, "*.proto")):
        with open(path) as file:
            name = os.path.basename(path)
            files[name] = Schema(name, file.read()).read()
    pool = descriptor_pool.DescriptorPool()
    added = set()

    def add(name):
        if name not in added:
            added.add(name)
            for dependency in files[name].dependency:
                add(dependency)
            pool.AddSerializedFile(files[name].SerializeToString())

    for name in files:
        add(name)
    return pool


POOL = load()


def message(name):
    """The class of a message by its full name."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


__all__ = ["DecodeError", "Item", "Operation", "Plan", "PublicKey", "Repo", "message"]

Item = message("v1sync.SyncStreamItem")
Operation = message("v1.Operation")
PublicKey = message("v1.PublicKey")
Repo = message("v1.Repo")
Plan = message("v1.Plan")
