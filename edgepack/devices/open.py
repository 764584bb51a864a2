"""Channels by name; one is loaded when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from edgepack.devices import Channel, Opening
from edgepack.errors import UsageError, did_you_mean

CHANNELS = {
    "local": "edgepack.devices.local:Local",
    "qemu": "edgepack.devices.qemu:Qemu",
}


def open_channel(
    text: str,
    *,
    runtime: str,
    offline: bool = False,
    announce: Callable[[str], None] = lambda _: None,
    package: str = "onnxruntime",
) -> Channel:
    """Open ``NAME`` or ``NAME:ADDRESS``; nothing is set up or reached before it is used.

    Raises:
        UsageError: E248 for a name that nothing registers, E249 when two packages claim one; and
            as the channel does for its address.
    """
    known = dict(CHANNELS)
    for point in entry_points(group="edgepack.channels"):
        if point.name in known:
            raise UsageError(
                "E249",
                f"two packages define a channel named `{point.name}`",
                where=f"{known[point.name]} and {point.value}",
                fix="uninstall one of them",
            )
        known[point.name] = point.value
    name, _, address = text.partition(":")
    if name not in known:
        raise UsageError("E248", f"there is no channel `{name}`", fix=did_you_mean(name, known))
    module, _, attribute = known[name].partition(":")
    make = cast("Callable[[str, Opening], Channel]", getattr(import_module(module), attribute))
    return make(address, Opening(runtime, offline, announce, package))
