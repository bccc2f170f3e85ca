"""The pool's database: objects by reference, and what changed when."""

import copy
import threading

from .schema import CLASSES, LINKS
from .values import NULL, Failure, new_ref, new_uuid


class Store:
    def __init__(self):
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.tables = {table: {} for table in CLASSES}
        self.sequence = 0
        # Per object: class, stamps of creation, last change, and removal (or 0).
        self.stamps = {}

    # Changes -------------------------------------------------------------------------------------------------------

    def stamp(self, table, ref, created=False, removed=False):
        self.sequence += 1
        entry = self.stamps.setdefault(ref, [table, self.sequence, self.sequence, 0])
        entry[2] = self.sequence
        if created:
            entry[1] = self.sequence
        if removed:
            entry[3] = self.sequence
        self.changed.notify_all()
        return self.sequence

    def add(self, table, **values):
        """A new object with the defaults of its class; gives its reference."""
        with self.lock:
            fields = CLASSES[table]
            record = {name: field.default(table) for name, field in fields.items()}
            record["uuid"] = new_uuid()
            unknown = set(values) - set(fields)
            assert not unknown, f"{table} has no field {unknown}"
            ref = new_ref()
            self.tables[table][ref] = record
            self.stamp(table, ref, created=True)
            for name, value in values.items():
                self.put(table, ref, name, copy.deepcopy(value))
            return ref

    def put(self, table, ref, name, value):
        """Sets a field, and the sets on the other side of a reference."""
        with self.lock:
            record = self.record(table, ref)
            old = record[name]
            if type(old) is type(value) and old == value:
                return
            record[name] = value
            link = LINKS.get((table, name))
            if link:
                for target, joins in ((old, False), (value, True)):
                    other = self.tables[link[0]].get(target)
                    if other is None:
                        continue
                    if joins and ref not in other[link[1]]:
                        other[link[1]].append(ref)
                    if not joins and ref in other[link[1]]:
                        other[link[1]].remove(ref)
                    self.stamp(link[0], target)
            self.stamp(table, ref)

    def touch(self, table, ref):
        with self.lock:
            return self.stamp(table, ref)

    def remove(self, table, ref):
        """Takes an object away; what pointed at it points at nothing."""
        with self.lock:
            record = self.record(table, ref)
            for (source, name), link in LINKS.items():
                if source == table:
                    other = self.tables[link[0]].get(record[name])
                    if other is not None and ref in other[link[1]]:
                        other[link[1]].remove(ref)
                        self.stamp(link[0], record[name])
                if link[0] == table:
                    for pointing in record[link[1]]:
                        if pointing in self.tables[source]:
                            self.tables[source][pointing][name] = NULL
                            self.stamp(source, pointing)
            del self.tables[table][ref]
            self.stamp(table, ref, removed=True)

    # Looking -------------------------------------------------------------------------------------------------------

    def record(self, table, ref):
        """The living record. Raises HANDLE_INVALID."""
        with self.lock:
            found = self.tables[table].get(ref)
            if found is None:
                raise Failure("HANDLE_INVALID", table, ref)
            return found

    def copy(self, table, ref):
        with self.lock:
            return copy.deepcopy(self.record(table, ref))

    def all(self, table):
        with self.lock:
            return {ref: copy.deepcopy(record) for ref, record in self.tables[table].items()}

    def by_uuid(self, table, uuid):
        with self.lock:
            for ref, record in self.tables[table].items():
                if record["uuid"] == uuid:
                    return ref
        raise Failure("UUID_INVALID", table, uuid)

    def find(self, table, **values):
        with self.lock:
            return [
                ref for ref, record in self.tables[table].items()
                if all(record[name] == value for name, value in values.items())]

    # Events --------------------------------------------------------------------------------------------------------

    def events(self, classes, since):
        """(events, sequence) after a sequence; `classes`: lower-case names, `name/ref`, or `*`."""
        with self.lock:
            found = []
            for ref, (table, created, changed, removed) in self.stamps.items():
                if changed <= since and removed <= since:
                    continue
                name = table.lower()
                if not ("*" in classes or name in classes or f"{name}/{ref.lower()}" in classes):
                    continue
                if removed:
                    if created <= since:
                        found.append((removed, name, "del", ref, None))
                    continue
                operation = "add" if created > since else "mod"
                found.append((changed, name, operation, ref, copy.deepcopy(self.tables[table][ref])))
            return sorted(found, key=lambda event: event[0]), self.sequence

    def counts(self, classes):
        with self.lock:
            return {
                table.lower(): len(records) for table, records in self.tables.items()
                if "*" in classes or any(name.split("/")[0] == table.lower() for name in classes)}
