"""The component's exports. The build's entry imports the transformer's module first, then takes `WitWorld` from here."""

import gc

import wit_world

from penstock_guest import runtime


class WitWorld(wit_world.WitWorld):
    """Guest ABI v1."""

    def penstock_v1_configure(self, config: str) -> None:
        """See `Runtime.configure`."""
        runtime.configure(config)

    def penstock_v1_transform(self, batch: str) -> str:
        """See `Runtime.run`."""
        return runtime.run(batch)


gc.collect()
gc.freeze()  # what was imported stays: the collector need not look at it again in every guest
