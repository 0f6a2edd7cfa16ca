"""What knows Discord: commands and buttons, cards and their words, and their way to members."""
