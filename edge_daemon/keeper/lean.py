"""paho without what it never uses here: keeps the resident process small.

paho-mqtt imports `urllib.request` (with http.client and email, 2 MB) only to look for proxies when it opens a socket by
itself. The keeper opens its sockets itself (`edge_daemon.keeper.dial`), so while paho is imported an empty module stands in
that name's place; afterwards the name is free again for the real one. Measured: 2.3 MB of RSS.
"""

from __future__ import annotations

import sys
from types import ModuleType

_NAME = "urllib.request"

if _NAME in sys.modules:
    import paho.mqtt.client as mqtt
else:
    sys.modules[_NAME] = ModuleType(_NAME)
    try:
        import paho.mqtt.client as mqtt
    finally:
        del sys.modules[_NAME]

from paho.mqtt.enums import CallbackAPIVersion  # noqa: E402  only now
from paho.mqtt.packettypes import PacketTypes  # noqa: E402
from paho.mqtt.properties import Properties  # noqa: E402
from paho.mqtt.reasoncodes import ReasonCode  # noqa: E402
from paho.mqtt.subscribeoptions import SubscribeOptions  # noqa: E402

__all__ = ["CallbackAPIVersion", "PacketTypes", "Properties", "ReasonCode", "SubscribeOptions", "mqtt"]
