"""The built-in optimizers: each module here is a plugin, found by the entry point ``optimizers``."""
