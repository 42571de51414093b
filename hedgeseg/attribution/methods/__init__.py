"""The attribution methods: one file each, one row each in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hedgeseg.attribution.methods import grad_cam, hedge
from hedgeseg.attribution.methods.method import Method

METHODS: Mapping[str, Method] = MappingProxyType({m.name: m for m in (hedge.METHOD, grad_cam.METHOD)})
