"""Data keys for the columns of many tenants: how workers find and open them."""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from . import DataKey, Envelope
from ._share import KeyStores, ProvidersSource


@dataclass(frozen=True)
class DataKeys:
    """Wrapped data keys (their headers), which workers open with their key stores. It is sent to workers. It may be logged: a wrapped
    data key is no secret, and its ``repr`` leaves ``context`` out.

    Args:
        key_stores: How each worker reaches key stores, or the path of a configuration file.
        wrapped: One wrapped data key, or one for each tenant, by the value of the column of tenants.
        context: Values that the headers withhold, if they do; the same for all.
        tenant_entry: The name of the entry of the headers' contexts, stored or withheld, whose value is the tenant's. **Say it**, and make
            the data keys with it: without it nothing tells that a header is that of another tenant, whose rows it would seal.
    """

    key_stores: KeyStores | ProvidersSource
    wrapped: bytes | Mapping[str, bytes]
    context: Mapping[str, str] = field(default_factory=dict, repr=False)
    tenant_entry: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "key_stores", KeyStores.of(self.key_stores))
        object.__setattr__(self, "context", dict(self.context))

    @property
    def is_one(self) -> bool:
        """Whether it is one data key for all rows."""
        return isinstance(self.wrapped, bytes)

    def check(self, has_by: bool) -> None:
        """Whether it is used as it is meant.

        Raises:
            ValueError: there are data keys of tenants and no column that tells the tenant, or the reverse.
        """
        if self.is_one and has_by:
            raise ValueError("`by` tells which of several data keys a row has, and there is one: give a mapping")
        if not self.is_one and not has_by:
            raise ValueError("there is a data key for each tenant: give `by`, the column that has the tenant")


class OpenKeys:
    """The opened data keys of one task: each is unwrapped once as long as it is among the last ``MOST`` that were used.

    They are kept no longer than the task is, so that a key that was disabled meanwhile opens nothing in the next one.
    """

    MOST = 1024

    def __init__(self, keys: DataKeys) -> None:
        self._keys = keys
        self._envelope = Envelope(KeyStores.of(keys.key_stores).open())
        self._open: OrderedDict[str, DataKey] = OrderedDict()

    def one(self) -> DataKey:
        """The data key of all rows."""
        return self.of("")

    def of(self, tenant: str) -> DataKey:
        """The data key of a tenant.

        Raises:
            KeyError: it has none.
            EnvelopeError: its data key does not open.
        """
        key = self._open.pop(tenant, None)
        if key is None:
            key = self._unwrap(tenant)
        self._open[tenant] = key
        if len(self._open) > self.MOST:
            self._open.popitem(last=False)
        return key

    def _unwrap(self, tenant: str) -> DataKey:
        wrapped, context = self._keys.wrapped, dict(self._keys.context)
        if isinstance(wrapped, Mapping):
            if tenant not in wrapped:
                raise KeyError(f"there is no data key for the tenant {tenant!r}")
            wrapped = wrapped[tenant]
        if self._keys.tenant_entry is not None:
            context[self._keys.tenant_entry] = tenant
        return self._envelope.open_data_key(wrapped, context=context)
