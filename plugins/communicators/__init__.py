"""The built-in communicators: each module here is a plugin, found by the entry point ``communicators``."""
