"""Where guests are made: projects, toolchains, builds. Knows the sandbox, and no Kafka.

A guest project is a folder with a `guest.toml`. What a language takes to build one is one file in `languages/`.
"""
