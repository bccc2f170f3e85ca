"""Sessions in both roles, with every step open to those who want to take it wrongly."""

import time

from . import channel, identity
from .channel import Direction, PrivateKey, Refused
from .connect import PATIENCE, Messages
from .messages import Item


class Session:
    """What both roles share once keys are exchanged."""

    def __init__(self, stream, mine, instance_id, **options):
        self.messages = Messages(stream, **options)
        self.stream = stream
        self.mine, self.instance_id = mine, instance_id
        self.sending = self.receiving = self.transcript = None
        self.peer = None
        self.seen = []

    def send_outer(self, outer, patience=PATIENCE):
        self.messages.send(outer.SerializeToString(), patience=patience)

    def receive_outer(self, patience=PATIENCE):
        return Item.FromString(self.messages.receive(patience))

    def send(self, *items, patience=PATIENCE):
        for item in items:
            self.send_outer(self.sending.seal(item), patience)

    def receive(self, patience=PATIENCE):
        item = self.receiving.open(self.receive_outer(patience))
        self.seen.append(item)
        return item

    def expect(self, action, patience=PATIENCE):
        """The next item of this kind; others are passed over."""
        limit = time.monotonic() + patience
        while True:
            item = self.receive(max(0.01, limit - time.monotonic()))
            if item.WhichOneof("action") == action:
                return getattr(item, action)

    def send_handshake(self, secret=""):
        self.send(self.mine.handshake(self.instance_id, self.transcript, secret))

    def take_handshake(self):
        self.peer = identity.check_handshake(self.receive(), self.transcript, self.mine.key_id)
        return self.peer

    def end(self, patience=PATIENCE):
        return self.messages.end(patience)

    def close(self):
        """Leaves; a connection of one's own goes with the stream."""
        self.stream.cancel()
        if len(self.stream.connection.streams) == 1 and self.messages.is_client:
            self.stream.connection.close()


class Member(Session):
    """Opens a session with a hub whose key and name it knows."""

    def __init__(self, stream, mine, instance_id, hub=None, **options):
        super().__init__(stream, mine, instance_id, **options)
        self.hub = hub
        self.key = None

    def offer(self, version=channel.VERSION, public=None):
        self.key = PrivateKey()
        outer = Item()
        outer.establish_shared_secret.protocol_version = version
        outer.establish_shared_secret.kem_public_key = self.key.public if public is None else public
        self.send_outer(outer)

    def take_answer(self):
        outer = self.receive_outer()
        if outer.WhichOneof("action") != "establish_shared_secret":
            raise Refused("no key exchange")
        if outer.establish_shared_secret.protocol_version != channel.VERSION:
            raise Refused("another transport version")
        self.begin(outer.establish_shared_secret.kem_encapsulation)

    def begin(self, encapsulation):
        to_hub, to_member = channel.session_keys(self.key.open(encapsulation))
        self.transcript = channel.transcript(self.key.public, encapsulation)
        self.sending, self.receiving = Direction(to_hub), Direction(to_member)

    def exchange(self):
        self.offer()
        self.take_answer()

    def prove(self, secret=""):
        """Checks the hub, and only then shows who this is."""
        peer = self.take_handshake()
        if self.hub and (peer.public_key.keyid, peer.instance_id) != self.hub:
            raise Refused("another hub")
        self.send_handshake(secret)

    def open(self, secret=""):
        """Up to the hub's first item, which says that it accepts."""
        self.exchange()
        self.prove(secret)
        self.config = self.expect("receive_config").config
        return self


class Hub(Session):
    """The other end."""

    def __init__(self, stream, mine, instance_id, **options):
        super().__init__(stream, mine, instance_id, is_client=False, **options)
        self.public = None

    def take_offer(self):
        outer = self.receive_outer()
        if outer.WhichOneof("action") != "establish_shared_secret":
            raise Refused("no key exchange")
        if outer.establish_shared_secret.protocol_version != channel.VERSION:
            raise Refused("another transport version")
        self.public = outer.establish_shared_secret.kem_public_key

    def answer(self, version=channel.VERSION, change=lambda encapsulation: encapsulation):
        encapsulation, secret = channel.encapsulate(self.public)
        encapsulation = change(encapsulation)
        to_hub, to_member = channel.session_keys(secret)
        self.transcript = channel.transcript(self.public, encapsulation)
        self.sending, self.receiving = Direction(to_member), Direction(to_hub)
        outer = Item()
        outer.establish_shared_secret.protocol_version = version
        outer.establish_shared_secret.kem_encapsulation = encapsulation
        self.send_outer(outer)

    def exchange(self):
        self.take_offer()
        self.answer()

    def open(self):
        """Up to the point where the member is known; it is for the caller to say whether it is taken."""
        self.exchange()
        self.send_handshake()
        return self.take_handshake()

    def accept(self):
        """What a hub without settings of its own says first."""
        view = Item()
        view.receive_config.config.version = 6
        view.receive_config.config.modno = 1
        resources = Item()
        resources.receive_resources.SetInParent()
        self.send(view, resources)

    def finish(self, code=None, message=""):
        self.messages.finish(code, message)
