"""The PlexLink bot: a process around the plugin."""
