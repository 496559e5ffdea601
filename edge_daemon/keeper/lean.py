"""paho without what it never uses here: keeps the resident process small.

paho-mqtt imports three modules for things that the keeper does not ask of it:

* `urllib.request` (with http.client and email) to look for proxies when it opens a socket by itself; `dial` opens ours;
* `logging` for four level numbers in a table that only `enable_logger` reads;
* `uuid` for client identifiers that it makes up; ours is the device's.

While paho is imported, small modules stand in these names' places; afterwards the names are free again, so that whoever
needs the real ones gets them. Measured: 2.3 + 1.1 + 0.2 MB of RSS.
"""

from __future__ import annotations

import sys
from types import ModuleType

_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}


def _place_holders() -> list[str]:
    """Those that were put in place: not what somebody has loaded already."""
    placed = [name for name in ("urllib.request", "logging", "uuid") if name not in sys.modules]
    for name in placed:
        sys.modules[name] = ModuleType(name)
        if name == "logging":
            vars(sys.modules[name]).update(_LEVELS)
    return placed


_placed = _place_holders()
try:
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode
    from paho.mqtt.subscribeoptions import SubscribeOptions
finally:
    for _name in _placed:
        del sys.modules[_name]

__all__ = ["CallbackAPIVersion", "PacketTypes", "Properties", "ReasonCode", "SubscribeOptions", "mqtt"]
