"""Values of the host's interface, and their forms on the wire: JSON-RPC and XML-RPC."""

import datetime
import time
import uuid
import xmlrpc.client
from xml.sax.saxutils import escape

NULL = "OpaqueRef:NULL"


class Failure(Exception):
    """What a host answers in place of a result: a code and texts."""

    def __init__(self, code, *parameters):
        super().__init__(" ".join((code, *map(str, parameters))))
        self.code = code
        self.parameters = [str(parameter) for parameter in parameters]

    @property
    def description(self):
        return [self.code, *self.parameters]


class Date(str):
    """`YYYYMMDDTHH:MM:SSZ`."""


def date(seconds=None):
    moment = datetime.datetime.fromtimestamp(time.time() if seconds is None else seconds, datetime.timezone.utc)
    return Date(moment.strftime("%Y%m%dT%H:%M:%SZ"))


NEVER = Date("19700101T00:00:00Z")


def new_ref():
    return f"OpaqueRef:{uuid.uuid4()}"


def new_uuid():
    return str(uuid.uuid4())


def to_xml(value):
    """One XML-RPC value. Integers travel as text, since they have 64 bits."""
    if value is None:
        return "<value></value>"
    if isinstance(value, bool):
        return f"<value><boolean>{int(value)}</boolean></value>"
    if isinstance(value, int):
        return f"<value>{value}</value>"
    if isinstance(value, float):
        return f"<value><double>{value!r}</double></value>"
    if isinstance(value, Date):
        return f"<value><dateTime.iso8601>{value}</dateTime.iso8601></value>"
    if isinstance(value, str):
        return f"<value>{escape(value)}</value>"
    if isinstance(value, (list, tuple)):
        return "<value><array><data>" + "".join(map(to_xml, value)) + "</data></array></value>"
    if isinstance(value, dict):
        members = (f"<member><name>{escape(str(key))}</name>{to_xml(item)}</member>" for key, item in value.items())
        return "<value><struct>" + "".join(members) + "</struct></value>"
    raise TypeError(f"no XML for {type(value)}")


def xml_response(value):
    body = '<?xml version="1.0"?><methodResponse><params><param>' + to_xml(value) + "</param></params></methodResponse>"
    return body.encode()


def from_xml_call(body):
    """(parameters, method) of an XML-RPC call."""
    parameters, method = xmlrpc.client.loads(body)
    return [plain(parameter) for parameter in parameters], method


def plain(value):
    if isinstance(value, xmlrpc.client.DateTime):
        return Date(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def from_xml_value(text):
    """The value in a document that holds one `<value>`, such as `ova.xml`."""
    wrapped = b'<?xml version="1.0"?><methodResponse><params><param>' + text + b"</param></params></methodResponse>"
    return plain(xmlrpc.client.loads(wrapped)[0][0])
