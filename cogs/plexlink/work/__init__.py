"""What exactly one process does: it asks plex.tv, and keeps true what members see."""
