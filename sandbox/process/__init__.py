"""Guests in a process of their own: `isolation: process`.

Threat: a guest that breaks out of WebAssembly through a fault of the engine. What it then has is a process that holds nothing but its own
events and can do next to nothing (`confinement`), on the other side of a channel whose every byte the host takes for hostile (`protocol`).

The host's half stands where a guest stands in a session (`guest`), so that nothing else notices. It leases a process from its transformer's
`processes` for as long as a guest lives: what one process does is one guest's doing. The other half is `child`.
"""
