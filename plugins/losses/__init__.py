"""The built-in losses: each module here is a plugin, found by the entry point ``losses``."""
